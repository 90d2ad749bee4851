// Holes of simpler readings of rows that wait beside the table, for a UNIQUE value or a number (docs/model.md, H6).
// More of them: holes_test.cpp.
#include <gtest/gtest.h>

#include "shared/testing/loose_nodes.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: a server's changes were refused for ever, for values were left out that nobody had. Mechanism: a row that
// had waited for a UNIQUE value got it back, though another one had been inserted under its number meanwhile; that had
// not been looked at yet, and what it held was gone. Mend: Applier::candidates leaves such a number until it has been.
TEST(Holes, H6_AWaitingRowLeavesWhatWasInsertedOverItAlone) {
  LooseNodes lab(2, [](MemoryStore& store) {
    Table table;
    table.wire_name = "numbered";
    table.columns = {{"id", ColumnType::integer, "integer", true, false},
                     {"u", ColumnType::text, "text", false, false}};
    table.key = {0};
    table.uniques = {{"numbered_u", {1}}};
    table.integer_key = true;
    table.on_key_collision = KeyCollision::hold;
    store.create_table(table);
  });
  auto numbered = [](std::int64_t id, const char* u) { return Row{Value::of_integer(id), Value::of_text(u)}; };
  lab.insert(1, "numbered", numbered(100, "taken"));
  lab.pass(10);
  lab.insert(0, "numbered", numbered(9, "taken"));
  lab.exchange_all();
  ASSERT_EQ(lab.rows(1, "numbered"), "100=taken");
  MemoryStore& store = lab.store(1);
  store.begin_local();
  store.insert("numbered", numbered(9, "inserted over it"));
  store.remove("numbered", Row{Value::of_integer(100)});
  store.commit_local();
  lab.core(1).cut_alone(true);  // as when a transaction of here comes between, in the middle of something else
  Applier(lab.core(1)).reconcile({});
  lab.exchange_all();
  for (std::size_t i = 0; i < 2; i++) {
    EXPECT_EQ(lab.rows(i, "numbered"), "9=taken") << i;
    std::vector<SideRow> waiting = lab.store(i).load_side();
    ASSERT_EQ(waiting.size(), 1u) << i;
    EXPECT_NE(waiting[0].payload.find("inserted over it"), std::string::npos) << waiting[0].payload;
  }
}

}  // namespace
}  // namespace rowmesh::testing
