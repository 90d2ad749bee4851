#include "shared/fuzz/replay.hpp"

namespace rowmesh::fuzz {

TEST(FuzzCorpus, Document) { replay("document", document); }
TEST(FuzzCorpus, Request) { replay("request", request); }
TEST(FuzzCorpus, Json) { replay("json", json); }
TEST(FuzzCorpus, Values) { replay("values", values); }

}  // namespace rowmesh::fuzz
