// As shared/fuzz/corpus_test.cpp, for the target that needs SQLite.
#include <gtest/gtest.h>

#include "shared/fuzz/replay.hpp"

namespace rowmesh::fuzz {
TEST(FuzzCorpus, Sqlite) { replay("sqlite", sqlite); }
}  // namespace rowmesh::fuzz
