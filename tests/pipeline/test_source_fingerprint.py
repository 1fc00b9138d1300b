"""What makes a stage be computed again."""

from distill.stages.stage import code_of

SOURCE = 'def double(x):\n    """Twice."""\n    return 2 * x\n'


def test_comments_docstrings_and_layout_do_not_change_the_fingerprint_but_code_does() -> None:
    same = '"""A module."""\n\n\ndef double(x):  # why\n    return 2   * x\n'
    assert code_of(same) == code_of(SOURCE)
    assert code_of(SOURCE.replace("2 *", "3 *")) != code_of(SOURCE)
