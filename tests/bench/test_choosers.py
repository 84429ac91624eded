"""What each chooser answers on planted matrices, and that none sees what it must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nns import load_plugins
from nns.bench.choosers import Fits, Question, Scene
from nns.bench.choosers.ablations import ablations_of
from nns.bench.choosers.at_large import AtLargeChooser
from nns.bench.choosers.halving import HalvingChooser, halve
from nns.bench.choosers.history import NearestChooser, StaticChooser, static_scores
from nns.bench.choosers.plain import (
    GeneralistChooser,
    ImageNetChooser,
    LargestChooser,
    OracleChooser,
    PublishedChooser,
    RandomChooser,
    ValidationChooser,
)
from nns.bench.choosers.probes import ProbeChooser
from nns.bench.choosers.spaces import (
    ProbedSpaceChooser,
    SpaceChooser,
    TogetherChooser,
    Variant,
    prior_alone,
    without_functional,
    without_history,
)
from nns.bench.choosers.timing import SearchSeconds
from nns.priors import Facts
from nns.searching.together import choose_together

from .conftest import Known
from .planted import plant_matrix, with_truth

SECONDS = SearchSeconds(3.0, 1.0)
NAN = np.nan


def question(scene, task=0, limit=None, **more):
    return Question(task, scene.feasible(task, limit), **more)


def order(answer):
    return np.argsort(-answer.scores, kind="stable").tolist()


def test_what_is_not_within_the_limit_is_never_in_the_order(scene):
    registry = load_plugins()
    choosers = [
        *[kind("", scene) for kind in (RandomChooser, LargestChooser, ImageNetChooser, OracleChooser)],
        *[StaticChooser("", scene), NearestChooser("", scene, SECONDS), HalvingChooser("", scene)],
        ProbeChooser("ridge", scene),
        SpaceChooser("", scene, Variant("tans", {"epochs": 3}), Fits(registry), [0], SECONDS, "baseline"),
    ]
    asked = question(scene, 1, 2e6, budget=10.0)
    assert 2 < asked.feasible.sum() < 9
    for chooser in choosers:
        for answer in chooser.ask(asked):
            np.testing.assert_array_equal(np.isfinite(answer.scores), asked.feasible)


def test_random_and_oracle(scene):
    (answer,) = RandomChooser("", scene).ask(question(scene))
    assert set(answer.scores) == {0.0}
    (answer,) = OracleChooser("", scene).ask(question(scene))
    assert order(answer)[0] == np.argmax(scene.accuracy[0])
    assert answer.warm == pytest.approx(np.nansum(scene.tuning_seconds[0]))


def test_the_largest_that_fits(scene):
    (answer,) = LargestChooser("", scene).ask(question(scene, 0, 3e6))
    feasible = scene.feasible(0, 3e6)
    assert order(answer)[0] == np.flatnonzero(feasible)[-1]  # the planted sizes grow


def test_imagenet_and_else_the_largest(scene):
    (answer,) = ImageNetChooser("", scene).ask(question(scene))
    assert order(answer)[:3] == [1, 0, 9]
    assert answer.note == ""
    without = np.array([False, False, *[True] * 7, False])
    (answer,) = ImageNetChooser("", scene).ask(Question(0, without))
    assert order(answer)[0] == 8
    assert "no ImageNet network" in answer.note


def with_facts(matrix, **starts):
    """Give every network facts: random weights unless told otherwise by its place."""
    facts = [Facts(starts.get(f"n{n}", "random"), 1e6) for n in range(len(matrix.zoo.network_ids))]
    return replace(matrix, zoo=replace(matrix.zoo, facts=tuple(facts)))


def test_published_figures_on_drawn_pictures_and_else_imagenet(planted):
    figures = {0: (0.3, 0.5), 5: (0.35, 0.4)}
    candidates = [
        replace(row, published=dict(zip(("imagenet-sketch", "imagenet-r"), figures[c], strict=True)))
        if c in figures
        else row
        for c, row in enumerate(planted.candidates)
    ]
    scene = Scene(replace(planted, candidates=tuple(candidates)))
    (answer,) = PublishedChooser("", scene).ask(question(scene))
    assert order(answer)[:4] == [0, 5, 1, 9]  # 0.4, 0.375, then ImageNet, then the largest
    assert answer.note == ""
    (answer,) = PublishedChooser("", Scene(planted)).ask(question(scene))
    assert order(answer)[:3] == [1, 0, 9]
    assert "no network with such figures" in answer.note


def test_the_largest_generalist_that_fits(planted):
    scene = Scene(with_facts(planted, n2="taught", n4="imagenet", n6="small"))
    (answer,) = GeneralistChooser("", scene).ask(question(scene))
    assert order(answer)[:3] == [4, 2, 9]
    (answer,) = GeneralistChooser("", Scene(planted)).ask(question(scene))
    assert order(answer)[0] == 9
    assert "no generalist" in answer.note


def test_without_a_space_facts_decide_and_then_results_on_other_families(planted):
    worst = int(np.argmin(static_scores(Scene(planted), 0)))
    scene = Scene(with_facts(planted, **{f"n{worst}": "imagenet"}))
    (facts,) = AtLargeChooser("", scene, SECONDS, results=False).ask(question(scene))
    assert order(facts)[0] == worst
    (moved,) = AtLargeChooser("", scene, SECONDS).ask(question(scene))
    assert order(moved)[0] == int(np.argmax(static_scores(scene, 0)))
    own = scene.matrix.tasks[0].family
    other = np.array([row.family != own for row in scene.matrix.tasks])[:, None]
    changed = np.where(other, scene.accuracy, 1 - scene.accuracy)
    (again,) = AtLargeChooser("", Scene(with_truth(scene.matrix, changed)), SECONDS).ask(question(scene))
    np.testing.assert_allclose(again.scores, moved.scores, atol=0.2)  # repetitions became one, its own family flipped


def test_static_ranks_by_hand():
    matrix = with_truth(plant_matrix(4, 1, 3), [[0.9, 0.1, 0.2], [0.1, 0.2, 0.3], [0.3, 0.1, NAN], [NAN, 0.5, 0.5]])
    scene = Scene(matrix)
    # of the three other datasets: ranks (0, .5, 1), (1, 0, -), (-, .5, .5)
    np.testing.assert_allclose(static_scores(scene, 0), [0.5, 1 / 3, 0.75])
    np.testing.assert_allclose(static_scores(scene, 3), [(1 + 0 + 1) / 3, (0 + 0.5 + 0) / 3, (0.5 + 1) / 2])


def test_without_any_result_elsewhere_the_static_ranking_knows_nothing():
    scene = Scene(with_truth(plant_matrix(2, 1, 3), [[0.9, 0.1, 0.2], [0.1, 0.2, NAN]]))
    np.testing.assert_allclose(static_scores(scene, 0), [0, 1, -1])
    family = replace(scene.matrix, tasks=tuple(replace(task, family="one") for task in scene.matrix.tasks))
    np.testing.assert_allclose(static_scores(Scene(family), 0), [-1, -1, -1])
    assert NearestChooser("", Scene(family), SECONDS).nearest(0) is None
    (answer,) = NearestChooser("", Scene(family), SECONDS).ask(question(Scene(family)))
    assert set(answer.scores) == {-3.0}


def test_the_nearest_dataset_is_of_another_family():
    matrix = plant_matrix(3, 2, 4)
    offset, queries = matrix.offset, list(matrix.zoo.queries)
    direction = np.eye(16, dtype=np.float32)
    for task, place in enumerate([0, 0, 1, 2, 0, 3]):  # 0, 1 and 4 are alike; 1 is of the family of 0
        queries[offset + task] = np.tile(10 * direction[place], (5, 1))
    labels = tuple(np.zeros(len(query), np.int64) for query in queries)
    matrix = replace(matrix, zoo=replace(matrix.zoo, queries=tuple(queries), query_labels=labels))
    truth = np.full((6, 4), 0.5)
    truth[4] = [0.1, NAN, 0.9, 0.5]
    scene = Scene(with_truth(matrix, truth))
    chooser = NearestChooser("", scene, SECONDS)
    assert chooser.nearest(0) == 4
    (answer,) = chooser.ask(question(scene))
    assert order(answer) == [2, 3, 0, 1]  # what has no result there comes last
    assert (answer.cold, answer.warm) == (3.0, 1.0)
    truth[4] = NAN
    assert NearestChooser("", Scene(with_truth(matrix, truth)), SECONDS).nearest(0) != 4


def test_probes_cost_features_and_scores_of_all_within_the_limit(scene):
    asked = question(scene, 2, 2e6)
    (answer,) = ProbeChooser("knn", scene).ask(asked)
    matrix = scene.matrix
    expected = (matrix.feature_seconds[2] + matrix.score_seconds["knn"][2])[asked.feasible].sum()
    assert answer.cold == answer.warm == pytest.approx(expected)
    assert order(answer)[0] == np.argmax(np.where(asked.feasible, matrix.scores["knn"][2], -1))
    (answer,) = ProbeChooser("knn", scene, reading=0.5).ask(asked)
    assert answer.warm == pytest.approx(expected + 0.5 * matrix.tasks[2].images)


CURVES = np.array([[0.1, 0.9, 0.9, 0.9], [0.4, 0.5, 0.6, 0.7], [0.3, 0.4, 0.8, 0.8], [0.2, 0.2, 0.2, 0.2]])


def test_halving_by_hand():
    seconds = np.ones((4, 4))
    scores, paid = halve(np.arange(4), CURVES, seconds)
    # one epoch of all, 1 and 2 go on for one, then 1 alone to the end: 4 + 2 + 2
    assert paid.tolist() == [1, 4, 2, 1]
    assert np.argsort(-scores).tolist() == [1, 2, 3, 0]
    scores, paid = halve(np.array([0, 2]), CURVES, seconds)
    assert paid.tolist() == [1, 0, 4, 0]
    assert np.argmax(np.nan_to_num(scores)) == 2
    assert np.isnan(scores[[1, 3]]).all()


def test_the_budget_sets_how_many_begin_best_static_first():
    matrix = plant_matrix(3, 1, 4)
    truth = [[0.9, 0.5, 0.4, 0.1], [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]]  # statically the last is best
    ones = np.ones((1, 3, 4, 4), np.float32)
    scene = Scene(with_truth(matrix, truth, epoch_seconds=ones))
    spent = {}
    for budget in (0.0, 4.0, 5.0, 7.9, 8.0, 99.0):
        (answer,) = HalvingChooser("", scene).ask(question(scene, budget=budget))
        spent[budget] = answer.warm
        assert order(answer)[0] == (0 if budget >= 8 else 1 if budget >= 7.9 else 2 if budget >= 5 else 3)
        assert answer.paid.sum() == answer.warm
    # one to the end; two; three (3 + 2 + 2); all; the least is one to the end, whatever the budget
    assert spent == {0.0: 4, 4.0: 4, 5.0: 5, 7.9: 7, 8.0: 8, 99.0: 8}


def test_each_repetition_is_a_replay_of_its_own(scene):
    assert len(HalvingChooser("", scene).ask(question(scene, budget=10.0))) == 2
    curves = scene.matrix.curves.copy()
    curves[1] = NAN
    other = Scene(replace(scene.matrix, curves=curves))
    assert len(HalvingChooser("", other).ask(question(other, budget=10.0))) == 1


def test_a_space_method_is_fitted_once_a_family_and_seed(scene, known_registry):
    chooser = SpaceChooser("nns", scene, Variant("known"), Fits(known_registry), [0, 1], SECONDS)
    for task in range(12):
        for limit in (None, 2e6):
            answers = chooser.ask(question(scene, task, limit))
            assert len(answers) == 2
    assert len(known_registry.made) == 6 * 2
    assert answers[0].cold >= 3
    assert answers[0].interval.shape == (10, 2)
    data = known_registry.made[0].fitted
    assert "q0" not in data.families
    assert data.network_ids == scene.matrix.zoo.network_ids


def test_a_method_that_knows_the_history_beats_random(scene, known_registry):
    chooser = SpaceChooser("nns", scene, Variant("known"), Fits(known_registry), [0], SECONDS)
    ranks = [order(chooser.ask(question(scene, task))[0]).index(np.argmax(scene.accuracy[task])) for task in range(12)]
    assert np.mean(ranks) < 2.5
    turned = Variant("known", {"sign": -1.0})
    chooser = SpaceChooser("nns", scene, turned, Fits(known_registry), [0], SECONDS)
    assert order(chooser.ask(question(scene, 0))[0])[-1] == np.argmax(static_scores(scene, 0))


def test_a_shuffled_query_is_that_of_another_family(scene, known_registry):
    chooser = SpaceChooser("", scene, Variant("known", shuffles=3), Fits(known_registry), [0, 1], SECONDS, "ablation")
    asked = []
    for fitted in (chooser.fits.get(chooser.variant, scene, 0, seed) for seed in (0, 1)):
        fitted.method.embed_query = lambda features, labels: asked.append(features) or features.mean(axis=0)
    assert len(chooser.ask(question(scene, 0))) == 6
    queries = scene.matrix.zoo.queries
    rows = [next(row for row, query in enumerate(queries) if query is one) for one in asked]
    assert all(scene.matrix.zoo.families[row] != "q0" and row >= scene.matrix.offset for row in rows)
    assert len(set(rows[:3])) == 3
    assert chooser.ask(question(scene, 0))[0].interval is None


def test_a_probe_reorders_the_best_few_and_takes_their_time(scene, known_registry, monkeypatch):
    monkeypatch.setattr("nns.bench.choosers.spaces.PROBED", 3)
    fits = Fits(known_registry)
    (plain,) = SpaceChooser("", scene, Variant("known"), fits, [0], SECONDS).ask(question(scene, 2, 3e6))
    ridge = {"ridge": np.array(scene.matrix.scores["ridge"]) * 0 + 0.5}
    best = order(plain)[:3]
    ridge["ridge"][2, best] = 0.01, 0.3, 0.99
    ridge["ridge"][2, order(plain)[3]] = 1.0
    sure = Scene(replace(scene.matrix, scores={**scene.matrix.scores, **ridge}))
    (answer,) = ProbedSpaceChooser("", sure, Variant("known"), fits, [0], SECONDS).ask(question(sure, 2, 3e6))
    feasible = int(sure.feasible(2, 3e6).sum())
    assert feasible > 4
    assert order(answer)[:feasible] == [*best[::-1], *order(plain)[3:feasible]]
    np.testing.assert_array_equal(np.isfinite(answer.scores), sure.feasible(2, 3e6))
    probing = sum(scene.matrix.feature_seconds[2, c] + scene.matrix.score_seconds["ridge"][2, c] for c in best)
    assert answer.warm - plain.warm == pytest.approx(probing, abs=0.05)
    moved = answer.predicted - plain.predicted
    assert (np.sign(moved[best]) == [-1, np.sign(moved[best[1]]), 1]).all()
    assert not np.delete(moved, best).any()
    known = np.isfinite(plain.predicted) & (np.abs(answer.interval - 0.5) < 0.5).all(axis=1)
    np.testing.assert_allclose((answer.interval - plain.interval)[known], np.stack([moved, moved], 1)[known])


def test_the_static_choice_is_probed_too(scene, known_registry, monkeypatch):
    monkeypatch.setattr("nns.bench.choosers.spaces.PROBED", 2)
    monkeypatch.setattr(Known, "prior", lambda self, networks: -networks[:, 0])
    own = SpaceChooser("", scene, Variant("known"), Fits(known_registry), [0], SECONDS)
    (plain,) = own.ask(question(scene, 2, 3e6))
    first, last = order(plain)[:2], order(plain)[int(np.isfinite(plain.scores).sum()) - 1]
    ridge = np.array(scene.matrix.scores["ridge"])
    ridge[2, first], ridge[2, last] = 0.01, 0.99
    sure = Scene(replace(scene.matrix, scores={**scene.matrix.scores, "ridge": ridge}))
    probed = ProbedSpaceChooser("", sure, Variant("known"), Fits(known_registry), [0], SECONDS)
    (answer,) = probed.ask(question(sure, 2, 3e6))
    assert answer.pool == 3
    assert set(order(answer)[:3]) == {*first, last}
    assert answer.predicted[last] > plain.predicted[last]


def test_the_prior_is_the_order_of_the_static_choice(scene, known_registry, monkeypatch):
    monkeypatch.setattr(Known, "prior", lambda self, networks: -networks[:, 0])
    variant = Variant("known", order=prior_alone)
    (answer,) = SpaceChooser("", scene, variant, Fits(known_registry), [0], SECONDS).ask(question(scene, 2))
    (plain,) = SpaceChooser("", scene, Variant("known"), Fits(known_registry), [0], SECONDS).ask(question(scene, 2))
    np.testing.assert_array_equal(answer.scores, answer.prior)
    assert np.argmin(answer.scores) == np.argmax(plain.scores)


def test_the_best_on_validation_takes_the_time_of_all(scene):
    asked = question(scene, 1, 3e6)
    (answer,) = ValidationChooser("", scene).ask(asked)
    assert order(answer)[0] == np.argmax(np.where(asked.feasible, scene.val[1], -1))
    assert answer.warm == pytest.approx(scene.tuning_seconds[1, asked.feasible].sum())
    assert answer.paid[order(answer)[0]] == scene.tuning_seconds[1, order(answer)[0]]


def test_a_search_also_reads_the_images_that_it_does_not_look_at(scene, known_registry):
    images = scene.matrix.tasks[1].images
    assert images > 7
    seconds = SearchSeconds(3.0, 1.0, reading=0.5, images=images - 7)
    for chooser in (
        SpaceChooser("", scene, Variant("known"), Fits(known_registry), [0], seconds),
        NearestChooser("", scene, seconds),
    ):
        (answer,) = chooser.ask(question(scene, 1))
        assert answer.cold - answer.warm == pytest.approx(2.0)
        assert answer.warm == pytest.approx(1.0 + 7 * 0.5, abs=0.1)
    assert SearchSeconds(reading=0.5, images=images).checking(3) == 0


def test_three_together_come_first_and_are_within_the_limit(scene, known_registry):
    fits = Fits(known_registry)
    own = SpaceChooser("nns", scene, Variant("known"), fits, [0], SECONDS)
    together = TogetherChooser(own)
    assert together.name == "nns, three together"
    changed = []
    for task in range(len(scene.matrix.tasks)):
        asked = question(scene, task, 5e6)
        assert 3 < asked.feasible.sum() < len(asked.feasible)
        (plain,), (answer,) = own.ask(asked), together.ask(asked)
        expected = choose_together(order(plain)[: asked.feasible.sum()], plain.predicted, plain.residuals)
        assert order(answer) == [*expected, *(c for c in order(plain) if c not in expected)]
        assert expected[0] == order(plain)[0]
        np.testing.assert_array_equal(np.isfinite(answer.scores), asked.feasible)
        assert (answer.cold, answer.warm) == (plain.cold, plain.warm)
        changed.append(expected != order(plain)[:3])
    assert any(changed)


def test_after_a_probe_three_are_chosen_among_those_probed(scene, known_registry, monkeypatch):
    monkeypatch.setattr("nns.bench.choosers.spaces.PROBED", 4)
    probed = ProbedSpaceChooser("nns", scene, Variant("known"), Fits(known_registry), [0], SECONDS)
    asked = question(scene, 2)
    (plain,), (answer,) = probed.ask(asked), TogetherChooser(probed).ask(asked)
    assert plain.pool == 4
    assert set(order(answer)[:3]) < set(order(plain)[:4])


def test_a_chooser_without_residuals_keeps_its_first_three(scene, known_registry, monkeypatch):
    own = SpaceChooser("nns", scene, Variant("known"), Fits(known_registry), [0], SECONDS)
    answers = [replace(answer, residuals=None) for answer in own.ask(question(scene))]
    monkeypatch.setattr(own, "ask", lambda asked: answers)
    assert TogetherChooser(own).ask(question(scene)) == answers


def test_few_images_are_drawn_anew_with_each_seed(scene, known_registry, monkeypatch):
    seen = []
    embed = Known.embed_query
    monkeypatch.setattr(Known, "embed_query", lambda self, *query: seen.append(query[0]) or embed(self, *query))
    SpaceChooser("", scene, Variant("known", images=2), Fits(known_registry), [0, 1], SECONDS).ask(question(scene, 1))
    assert [len(features) for features in seen] == [2, 2]
    assert not np.array_equal(*seen)
    every = scene.matrix.zoo.queries[scene.matrix.offset + 1]
    assert all((every == row).all(axis=1).any() for features in seen for row in features)


def test_orders_without_the_prior_and_without_the_predictor(scene):
    fits = Fits(load_plugins())
    found = {
        name: SpaceChooser("", scene, replace(variant, settings={"epochs": 5}), fits, [0], SECONDS, "ablation")
        for name, variant in {**ablations_of("mixed"), "all": Variant("mixed")}.items()
        if name in {"no prior", "no predictor", "all"}
    }
    scores = {name: chooser.ask(question(scene, 3))[0].scores for name, chooser in found.items()}
    fitted = fits.get(found["all"].variant, scene, 3, 0)
    row = scene.matrix.offset + 3
    query = fitted.method.embed_query(scene.matrix.zoo.queries[row], scene.matrix.zoo.query_labels[row])
    known = np.isfinite(scores["all"])
    cosines = fitted.method.similarity(query, fitted.networks)
    np.testing.assert_array_equal(scores["no predictor"][known], cosines[known])
    prior = fitted.method.terms(query, fitted.networks)["prior"]
    np.testing.assert_allclose((scores["no prior"] + prior)[known], scores["all"][known], atol=1e-5)
    assert len(fits.made) == 1


def test_parts_that_are_left_out(scene):
    data = scene.matrix.training_data(0)
    assert len(data.transfer_network) == 10 * 10
    assert len(without_history(data).transfer_network) == 0
    blanked = without_functional(data)
    assert not blanked.blocks["kernel"].any()
    assert not blanked.blocks["surprise"].any()
    assert blanked.blocks["graph"] is data.blocks["graph"]
    assert data.blocks["kernel"].any()


def test_ablations_name_the_method_that_is_measured():
    found = ablations_of("known")
    assert {"no functional embedding", "no transfers", "query shuffled"} <= set(found)
    assert {variant.method for variant in found.values()} == {"known"}


def changed_family(matrix, task, seed=1):
    """Draw other accuracies for all datasets of the family of one; scores of features stay."""
    rng = np.random.default_rng(seed)
    rows = [t for t, row in enumerate(matrix.tasks) if row.family == matrix.tasks[task].family]
    changes = {}
    for name in ("val", "test", "head_val", "head_test", "curves"):
        array = getattr(matrix, name).copy()
        axis = array.ndim - 2 if name != "curves" else 1
        index = (slice(None),) * axis + (rows,)
        array[index] = rng.random(array[index].shape)
        changes[name] = array
    accuracy = matrix.zoo.accuracy.copy()
    own = np.isin(matrix.zoo.dataset_index, [d for d, f in enumerate(matrix.zoo.families) if f == "q0"])
    accuracy[own] = rng.random(own.sum())
    return replace(matrix, **changes, zoo=replace(matrix.zoo, accuracy=accuracy))


@pytest.mark.parametrize("head_only", [False, True])
def test_accuracies_of_the_family_change_no_answer(planted, head_only):
    registry = load_plugins()

    def answers(matrix, task):
        scene = Scene(matrix, head_only)
        fits = Fits(registry)
        choosers = [
            StaticChooser("", scene),
            NearestChooser("", scene, SECONDS),
            ImageNetChooser("", scene),
            SpaceChooser("", scene, Variant("mixed", {"epochs": 5}), fits, [0], SECONDS, "ablation"),
            SpaceChooser("", scene, Variant("tans", {"epochs": 5}), fits, [0], SECONDS, "baseline"),
        ]
        return [chooser.ask(question(scene, task))[0] for chooser in choosers]

    other = changed_family(planted, 0)
    assert not np.allclose(Scene(planted, head_only).accuracy[:2], Scene(other, head_only).accuracy[:2])
    for task in (0, 1):
        for before, after in zip(answers(planted, task), answers(other, task), strict=True):
            np.testing.assert_array_equal(before.scores, after.scores)
            if before.predicted is not None:
                np.testing.assert_array_equal(before.predicted, after.predicted)
    # on a dataset of another family they do
    before, after = (answers(matrix, 4) for matrix in (planted, other))
    assert not np.array_equal(before[0].scores, after[0].scores)
