"""Ids.

| asked for | given |
|-----------|-------|
| ten thousand | UUIDs of version 4, no two alike |
"""

import uuid

from chassis.ids import new_id


def test_ids_are_uuids_of_version_4_and_no_two_are_alike() -> None:
    made = [new_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    for one in made:
        known = uuid.UUID(one)
        assert (str(known), known.version, known.variant) == (one, 4, uuid.RFC_4122)
