"""The command: ``python benchmarks/starter STEP …``; each step goes on where it stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in {None, ""}:  # run as a folder: make this folder the package `starter`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

TEACHERS = "lite0-128,lite2-128"


def main() -> None:
    """Parse and run one step."""
    parser = argparse.ArgumentParser(prog="python benchmarks/starter", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is computed")
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("crops", help="cut and join the images").add_argument("--bank", type=Path, required=True)
    steps.add_parser("check", help="assert that no excluded picture is in them")
    teacher = steps.add_parser("teacher", help="store what an EfficientNet-Lite sees in them")
    teacher.add_argument("--lite", type=int, choices=(0, 1, 2), required=True)
    teacher.add_argument("--size", type=int, default=128, help="pixels at which it looks (%(default)s)")
    teacher.add_argument("--first", type=int, default=0, help="only so many pictures; 0: all")
    student = steps.add_parser("teach", help="teach a student")
    student.add_argument("name", help="architecture of timm, or ofa_mbv3_wWIDTH")
    student.add_argument("--teachers", default=TEACHERS, help="folders under WORK/teachers (%(default)s)")
    student.add_argument("--seconds", type=float, required=True, help="training time in all")
    student.add_argument("--batch", type=int, default=128)
    student.add_argument("--rate", type=float, default=2e-3)
    student.add_argument("--shift", type=int, default=6)
    student.add_argument("--early", type=int, default=0, help="pixels in the first 60 %% of the time; 0: all 64")
    student.add_argument("--first", type=int, default=0, help="only so many pictures; 0: all that were seen")
    student.add_argument("--only", default="", help="sources of pictures, patterns with commas: a specialist")
    student.add_argument("--without", default="", help="sources to leave out, patterns with commas")
    student.add_argument("--labels", type=float, default=0.0, help="weight of the classes of labelled tasks")
    student.add_argument("--start", default="", help="begin with what another student has learned, by its name and tag")
    student.add_argument("--tag", default="", help="to tell experiments with one architecture apart")
    export = steps.add_parser("export", help="write a student's weights and what is known of them")
    export.add_argument("name")
    export.add_argument("--tag", default="")
    evaluate = steps.add_parser("evaluate", help="fine-tune on tasks that nothing has seen")
    evaluate.add_argument("networks", nargs="+", help="scratch:NAME, lite:N, student:NAME, subnet:NAME:SIZE")
    evaluate.add_argument("--bank", type=Path, required=True)
    evaluate.add_argument("--out", type=Path, default=Path(__file__).with_name("evaluated.jsonl"))
    evaluate.add_argument("--seeds", type=int, default=1)
    evaluate.add_argument("--size", type=int, default=64, help="pixels a side (%(default)s)")
    evaluate.add_argument("--tasks", type=Path, help="names of tasks (benchmarks/finetune/tasks.txt)")
    shelf = steps.add_parser("shelf", help="write the networks of the starter zoo")
    shelf.add_argument("--out", type=Path, required=True, help="the zoo")
    shelf.add_argument("--shorter", action="store_true", help="add the first stages of the taught ones to a zoo")
    results = steps.add_parser("results", help="add results of fine-tunings to the starter zoo")
    results.add_argument("--bank", type=Path, required=True)
    results.add_argument("--cells", type=Path, required=True, help="cells of `nns bench make`")
    results.add_argument("--zoo", type=Path, required=True, help="the zoo that they are of")
    results.add_argument("--out", type=Path, required=True, help="the starter zoo")
    results.add_argument("--add", nargs="*", default=[], metavar="ID", help="networks of --zoo that it gets, too")
    results.add_argument("--images", type=int, default=48, help="of a new dataset whose features it keeps")
    run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Run one step; torch is imported by those that need it."""
    work: Path = options.work
    crops = work / "crops"
    if options.step == "crops":
        from starter import crops as cropping

        cropping.main(work / "packages", options.bank, crops)
    elif options.step == "check":
        from starter import checking

        checking.main(crops)
    elif options.step == "teacher":
        from starter import teacher

        out = work / "teachers" / f"lite{options.lite}-{options.size}"
        teacher.main(crops, out, options.lite, options.size, options.first)
    elif options.step == "teach":
        from starter import training

        lesson = training.Lesson(
            options.seconds,
            options.batch,
            options.rate,
            shift=options.shift,
            early=options.early,
            first=options.first,
            only=tuple(filter(None, options.only.split(","))),
            without=tuple(filter(None, options.without.split(","))),
            start=options.start,
            labels=options.labels,
        )
        students = work / "students"
        teachers = [work / "teachers" / name for name in options.teachers.split(",")]
        training.teach(options.name, crops, teachers, students / (options.name + options.tag), lesson)
    elif options.step == "export":
        from starter import exporting

        exporting.export(options.name, options.tag, crops, work / "students", work / "weights")
    elif options.step == "results":
        from starter import results

        results.main(options.bank, options.cells, options.zoo, options.out, options.add, options.images)
    elif options.step == "shelf":
        from starter import shelf

        shelf.main(work / "weights", options.out, options.shorter)
    else:
        from starter import evaluate

        evaluate.main(
            options.bank, work / "weights", options.out, options.networks, options.seeds, options.tasks, options.size
        )


if __name__ == "__main__":
    main()
