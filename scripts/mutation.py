"""What a mutation is: edits that take one mechanism out, and the test that must fail then."""
import dataclasses


@dataclasses.dataclass
class Mutation:
    name: str
    file: str
    edits: list  # of (before, after), and the file where it is another one
    test: str
    program: str = "shared/rowmesh_tests"


SQLITE = "sqlite_ext/rowmesh_sqlite_tests"
