import threading

from ..answers import BOUNDS, KEPT, Answers


def test_answers_are_counted_by_model_status_and_time() -> None:
    answers = Answers()
    for seconds, status in [(0.005, 200), (0.0051, 404), (0.3, 500), (60, 503)]:
        answers.add("a", seconds, status)
    answers.fail("a")
    answers.add("b", 0.001, 200)
    counts = answers.counts()
    assert (counts["a"].requests, counts["a"].errors, counts["a"].failures) == (4, 2, 1)
    assert counts["a"].buckets == [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert len(counts["a"].buckets) == len(BOUNDS) + 1
    assert counts["b"].requests == 1


def test_what_was_counted_does_not_change_afterwards() -> None:
    answers = Answers()
    answers.add("a", 1, 200)
    before = answers.counts()
    answers.add("a", 1, 200)
    assert (before["a"].requests, sum(before["a"].buckets)) == (1, 1)


def test_of_many_models_those_that_were_asked_last_are_kept() -> None:
    answers = Answers()
    for number in range(KEPT):
        answers.add(str(number), 1, 200)
    answers.add("0", 1, 200)
    answers.add("new", 1, 200)
    assert answers.counts().keys() == {"0", "new", *map(str, range(2, KEPT))}


def test_threads_beside_each_other_lose_no_count() -> None:
    answers = Answers()

    def count() -> None:
        for _ in range(5000):
            answers.add("a", 0.1, 500)
            answers.fail("a")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = answers.counts()["a"]
    assert (found.requests, found.errors, found.failures) == (20_000, 20_000, 20_000)
    assert answers.version == 40_000
