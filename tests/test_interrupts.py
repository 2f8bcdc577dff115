from __future__ import annotations

import signal
import threading

import pytest

from ganaug.interrupts import interrupt_at_the_end


def test_a_ctrl_c_waits_for_the_end_of_the_block():
    done = []

    def work():
        with interrupt_at_the_end():
            signal.raise_signal(signal.SIGINT)
            done.append("the rest of the block")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done


def test_it_goes_to_whoever_handled_it_before():
    received = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        with interrupt_at_the_end():
            signal.raise_signal(signal.SIGINT)
            assert not received
        assert received == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_in_the_block_gives_the_handler_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyError), interrupt_at_the_end():
        raise KeyError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_have_no_signals_to_hold_back():
    entered = []

    def work():
        with interrupt_at_the_end():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered
