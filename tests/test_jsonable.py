import json
import math

import numpy as np

from nns.jsonable import jsonable


def test_what_json_does_not_know():
    value = {1: [math.nan, -math.inf, (0.5, True, None)], "a": {"b": np.float32(0.25), "c": np.int64(3)}, "s": "x"}
    assert jsonable(value) == {"1": [None, None, [0.5, True, None]], "a": {"b": 0.25, "c": 3}, "s": "x"}
    json.dumps(jsonable(value), allow_nan=False)


def test_rounding_and_leaving_out():
    value = {"a": -0.0001, "fit_seconds": 1.0, "b": [{"seconds": 2, "c": 1.23456}], "n": 12345}
    found = jsonable(value, 2, leave_out="seconds")
    assert found == {"a": 0.0, "b": [{"c": 1.23}], "n": 12345}
    assert math.copysign(1, found["a"]) == 1
