#include "shared/merge/window.hpp"

#include <gtest/gtest.h>

#include <set>

namespace rowmesh {
namespace {

Key key_of(std::uint64_t number) {
  Value value = Value::of_integer(static_cast<std::int64_t>(number));
  return encode_key({&value, 1});
}

TEST(EntryTable, HoldsWhatASetHolds) {
  EntryTable table;
  std::map<Key, Entry*> expected;
  std::uint64_t chance = 7;
  auto below = [&](std::uint64_t bound) {
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (chance >> 33) % bound;
  };
  for (int round = 0; round < 60000; round++) {
    // Grows to some thousands, shrinks to nothing, grows again.
    bool growing = round / 10000 % 2 == 0;
    Key key = key_of(below(4000));
    if (below(10) < (growing ? 8u : 1u)) {
      bool made;
      Entry& entry = table.get(3, key, made);
      ASSERT_EQ(made, !expected.contains(key));
      if (made) expected[key] = &entry;
      ASSERT_EQ(expected[key], &entry) << "an entry keeps its address";
      ASSERT_EQ(*entry.key, key);
    } else if (auto at = expected.find(key); at != expected.end()) {
      table.erase(*at->second);
      expected.erase(at);
    }
    ASSERT_EQ(table.size(), expected.size());
    Key other = key_of(below(4000));
    Entry* found = table.find(other);
    ASSERT_EQ(found, expected.contains(other) ? expected[other] : nullptr);
  }
  std::set<Entry*> visited;
  table.for_each([&](Entry& entry) { visited.insert(&entry); });
  EXPECT_EQ(visited.size(), expected.size());
  for (auto& [key, entry] : expected) EXPECT_TRUE(visited.contains(entry));
}

class WindowOf : public ::testing::Test {
 protected:
  void add(Origin origin, PositionNumber position, Hlc newest, std::initializer_list<std::uint64_t> keys) {
    Batch batch;
    batch.ends = {{origin, position}};
    batch.newest = newest;
    for (std::uint64_t key : keys) {
      Entry& entry = window.get(1, key_of(key));
      if (entry.state.lives.empty()) entry.state.lives.emplace_back(Version{newest, origin});
      entry.state.lives.back().columns.set_all({newest, origin});
      batch.entries.push_back(&entry);
    }
    window.add_batch(std::move(batch));
  }
  std::vector<Key> gathered(const std::map<Origin, PositionNumber>& from) {
    std::vector<Key> keys;
    for (Entry* entry : window.gather(from)) keys.push_back(*entry->key);
    return keys;
  }
  Window window;
};

TEST_F(WindowOf, GathersAndCountsWhatComesAfterAPosition) {
  add(5, 1, 10, {3, 4});
  add(6, 9, 11, {4, 9});
  add(5, 2, 12, {2, 3});
  add(5, 4, 14, {1});
  EXPECT_EQ(gathered({{5, 1}}), (std::vector<Key>{key_of(1), key_of(2), key_of(3)}));
  EXPECT_EQ(gathered({{5, 0}, {6, 0}}).size(), 5u);
  EXPECT_EQ(gathered({{5, 3}}), (std::vector<Key>{key_of(1)}));
  EXPECT_TRUE(gathered({{5, 4}, {7, 0}}).empty());
  EXPECT_EQ(window.count_after(5, 0), 5u);
  EXPECT_EQ(window.count_after(5, 1), 3u);
  EXPECT_EQ(window.count_after(5, 4), 0u);
  EXPECT_EQ(window.count_after(6, 0), 2u);
  EXPECT_EQ(window.oldest_after(5, 0), 10u);
  EXPECT_EQ(window.oldest_after(5, 1), 12u);
  EXPECT_EQ(window.oldest_after(5, 4), 0u);
  EXPECT_EQ(window.newest_after({{5, 1}, {6, 0}}), 14u);
}

TEST_F(WindowOf, ForgetsFromTheFront) {
  add(5, 1, 10, {3, 4});
  add(5, 2, 12, {4, 5});
  std::map<Origin, PositionNumber> pruned;
  window.prune(11, pruned);
  EXPECT_EQ(pruned[5], 1u);
  EXPECT_EQ(window.count_after(5, 0), 2u);
  EXPECT_FALSE(window.find(1, key_of(3))) << "nothing of it is unsettled";
  EXPECT_TRUE(window.find(1, key_of(4)));
  window.prune(12, pruned);
  EXPECT_EQ(window.size(), 0u);
  EXPECT_EQ(window.count_after(5, 0), 0u);
}

TEST_F(WindowOf, TakesBackWhatAFailedApplyMade) {
  add(5, 1, 10, {3});
  window.begin_changes();
  window.get(1, key_of(8)).state.lives.emplace_back();
  Entry& known = *window.find(1, key_of(3));
  window.touch(known);
  known.state.lives.clear();
  window.undo_changes();
  EXPECT_FALSE(window.find(1, key_of(8)));
  EXPECT_EQ(window.find(1, key_of(3))->state.lives.size(), 1u);
}

}  // namespace
}  // namespace rowmesh
