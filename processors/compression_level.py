"""How hard a compression tries."""

from runtime.properties import Choice


class Level(Choice):
    """How hard to try."""

    L0 = "0"
    L1 = "1"
    L2 = "2"
    L3 = "3"
    L4 = "4"
    L5 = "5"
    L6 = "6"
    L7 = "7"
    L8 = "8"
    L9 = "9"
