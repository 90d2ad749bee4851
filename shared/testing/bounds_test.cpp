// What waits in memory is bounded, whatever others do and however long a disk is full (shared/sync/README.md, "What is
// held"). The simulator looks at the same bounds after every event.
#include <gtest/gtest.h>

#include "shared/model/limits.hpp"
#include "shared/sync/hello.hpp"
#include "shared/testing/loose_nodes.hpp"
#include "shared/testing/node_pair.hpp"

namespace rowmesh::testing {
namespace {

// Symptom: while a history could not be written (its disk was full, or somebody held a lock on its table) the worker
// grew by each position, for days. Mechanism: whatever was read of the log waited in memory for its record. Mend: with
// too many of those the log is not read on; what was committed stays there, and goes out when there is room.
TEST(Bounds, PositionsThatCannotBeWrittenDoNotGather) {
  NodePair nodes;
  nodes.link(0, 1);
  nodes.start();
  nodes.run_for(3000);
  bool full = true;
  nodes.stores[0]->on_point = [&](Point point) {
    if (full && (point == Point::before_write || point == Point::before_commit))
      throw Error(ErrorKind::transient, "53100", "no space left on device");
  };
  std::size_t most = 0;
  for (int i = 0; i < 300; i++) {
    nodes.write(0, "row " + std::to_string(i), "v");
    nodes.run_for(50);
    most = std::max(most, nodes.nodes[0]->held().unwritten);
  }
  EXPECT_LE(most, limits::unwritten_positions);
  EXPECT_NE(nodes.nodes[0]->status().blocked.find("history"), std::string::npos);
  full = false;
  nodes.run_for(5000);
  EXPECT_EQ(nodes.nodes[0]->status().blocked, "");
  EXPECT_EQ(nodes.rows(1), 300u);
}

// What applies and requests read of the log, which they do once more with each attempt, waits there as well
// (Core::cut_alone).
TEST(Bounds, NeitherDoThoseThatRequestsMake) {
  NodePair nodes;
  nodes.link(0, 1);
  nodes.start();
  nodes.run_for(3000);
  nodes.stores[0]->on_point = [&](Point point) {
    if (point == Point::before_write || point == Point::before_commit)
      throw Error(ErrorKind::transient, "53100", "no space left on device");
  };
  std::size_t most = 0;
  nodes.stores[0]->request("copy", R"({"server":"nobody"})");
  for (int i = 0; i < 300; i++) {
    nodes.write(0, "row " + std::to_string(i), "v");
    nodes.run_for(100);
    most = std::max(most, nodes.nodes[0]->held().unwritten);
  }
  EXPECT_LE(most, limits::unwritten_positions);
}

// Symptom: a document of a million rows of which the receiver lacked something each took it a million keys of memory,
// though its answer names a thousand. Mend: beyond those they are not kept one by one.
TEST(Bounds, RowsThatMustComeWholeAreNotAllNamed) {
  WantedRows wanted;
  for (std::size_t i = 0; i < limits::wanted_rows; i++) wanted.add("items", std::to_string(i));
  EXPECT_FALSE(wanted.all());
  EXPECT_EQ(wanted.rows().size(), limits::wanted_rows);
  EXPECT_FALSE(wanted.has("items", "another"));
  wanted.add("items", "another");
  EXPECT_TRUE(wanted.all());
  EXPECT_TRUE(wanted.rows().empty());
  EXPECT_TRUE(wanted.has("items", "any"));
  EXPECT_EQ(wanted_from_json(wanted_to_json(wanted)), wanted);
}

// Symptom: the bound on quarantined rows was kept between documents only: one could bring any number, all of them in
// memory. Mend: those that come with the transaction count.
TEST(Bounds, OneDocumentPutsNoMoreRowsAsideThanThereIsRoomFor) {
  LooseNodes nodes(2, [](MemoryStore& store) {
    Table table;
    table.wire_name = "rows";
    table.columns = {{"code", ColumnType::text, "text", true, false}, {"a", ColumnType::text, "text", false, false}};
    table.key = {0};
    store.create_table(table);
  });
  nodes.store(1).add_check("rows", "none", [](RowView row) { return row[1].text != "refused"; });
  nodes.write(0, [](MemoryStore& store) {
    for (std::size_t i = 0; i <= limits::side_rows; i++) {
      std::string code = std::to_string(i);
      Row row = {Value::of_text(code), Value::of_text("refused")};
      store.insert("rows", row);
    }
  });
  LooseNodes::Document document = nodes.make(0, 1);
  EXPECT_THROW(nodes.deliver(document, 1), Error);
  EXPECT_TRUE(nodes.core(1).sides().empty());
}

}  // namespace
}  // namespace rowmesh::testing
