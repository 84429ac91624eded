"""How often an address may ask."""

from __future__ import annotations

from nns.serving.rates import BURST, SLOTS, Rates


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def made(rate=10.0):
    clock = Clock()
    return Rates(rate, clock, [0.0] * SLOTS, b"key"), clock


def test_a_burst_and_then_the_rate():
    rates, clock = made()
    allowed = sum(rates.wait("10.0.0.1") == 0 for _ in range(100))
    assert allowed == 10 * BURST
    wait = rates.wait("10.0.0.1")
    assert 0 < wait <= 0.1 + 1e-6
    clock.now += wait
    assert rates.wait("10.0.0.1") == 0
    assert rates.wait("10.0.0.1") > 0
    clock.now += 100  # what was not used is not saved up
    assert sum(rates.wait("10.0.0.1") == 0 for _ in range(100)) == 10 * BURST


def test_addresses_have_rates_of_their_own_but_not_those_of_one_network_of_ipv6():
    rates, _ = made()
    while not rates.wait("10.0.0.1"):
        pass
    assert rates.wait("10.0.0.2") == 0
    while not rates.wait("2001:db8::1"):
        pass
    assert rates.wait("2001:db8::ffff") > 0
    assert rates.wait("2001:db8:0:1::1") == 0


def test_less_than_one_a_second_lets_one_through():
    rates, clock = made(0.1)
    assert rates.wait("a host") == 0
    assert 0 < rates.wait("a host") <= 10
    clock.now += 10
    assert rates.wait("a host") == 0


def test_none_is_any_number():
    rates, _ = made(0.0)
    assert not any(rates.wait("10.0.0.1") for _ in range(1000))
