// The merge as algebra: whatever the order in which random states of one key arrive, the outcome is the same.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "shared/merge/merge_test_table.hpp"

namespace rowmesh {
namespace {

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ % bound;
  }

 private:
  std::uint64_t state_;
};

// What once happened to one life; every state of it that anybody has is a part of this.
struct Fate {
  Version birth, removed;
  std::array<std::vector<Version>, columns> written;  // ascending, the birth first
  bool moves = false;
  Version moved;
};

// A state of the key as some node has it.
struct Known {
  struct Life {
    Version birth, removed;
    std::array<Version, columns> versions;
    bool moved = false;
    Version move_version;
  };
  std::vector<Life> lives;
};

std::string value_of(Version version) {
  return "v" + std::to_string(version.hlc) + "." + std::to_string(version.origin);
}

std::vector<Fate> random_fates(Chance& chance) {
  std::vector<Fate> fates(1 + chance.below(3));
  Hlc next = 1;
  for (Fate& fate : fates) {
    fate.birth = {next += 1 + chance.below(3), 1 + chance.below(3)};
    for (auto& written : fate.written) {
      written.push_back(fate.birth);
      for (std::uint64_t more = chance.below(3); more > 0; more--)
        written.push_back({written.back().hlc + 1 + chance.below(4), 1 + chance.below(3)});
    }
    if (chance.below(3) == 0) fate.removed = {fate.birth.hlc + 1 + chance.below(9), 1 + chance.below(3)};
    fate.moves = chance.below(5) == 0;
    fate.moved = {fate.birth.hlc + 2, fate.birth.origin};
  }
  return fates;
}

Known random_part(Chance& chance, const std::vector<Fate>& fates) {
  Known known;
  for (const Fate& fate : fates) {
    if (chance.below(4) == 0) continue;
    Known::Life life{fate.birth, {}, {}, false, fate.moved};
    for (std::size_t i = 0; i < columns; i++) life.versions[i] = fate.written[i][chance.below(fate.written[i].size())];
    if (chance.below(2)) life.removed = fate.removed;
    life.moved = fate.moves && chance.below(2);
    known.lives.push_back(life);
  }
  return known;
}

// One node: the state of the key and the row in its table.
struct Replica {
  explicit Replica(bool integer_key) : table(rowmesh::table(integer_key)) {}

  void merge(const Known& known) {
    std::vector<IncomingLife> incoming;
    std::vector<std::array<std::string, columns>> texts(known.lives.size());
    std::vector<Row> rows(known.lives.size());
    for (std::size_t l = 0; l < known.lives.size(); l++) {
      const Known::Life& life = known.lives[l];
      IncomingLife arriving;
      arriving.birth = life.birth;
      arriving.removed = life.removed;
      arriving.columns.base = life.birth;
      for (std::size_t i = 0; i < columns; i++) {
        arriving.columns.set(static_cast<ColumnIndex>(i), life.versions[i]);
        texts[l][i] = i == 0 ? "key" : value_of(life.versions[i]);
        rows[l].push_back(i == 0 && table.integer_key ? Value::of_integer(7) : Value::of_text(texts[l][i]));
      }
      if (life.moved)
        arriving.moved = std::make_unique<Move>(Move{life.move_version, "elsewhere", life.move_version, {}});
      arriving.has_values = !arriving.dead();
      if (arriving.has_values) arriving.values = rows[l];
      incoming.push_back(std::move(arriving));
    }
    MergeContext context{.table = table, .had_seen = [](Version, Version) { return false; }};
    std::optional<OwnedRow> desired;
    RowView here = row ? row->view() : RowView();
    merge_lives(state, incoming, here, context, losses, desired);
    row = std::move(desired);
    state.set_in_table(row ? shown_life(state, table.keeps_lives_apart(), {}) : nullptr);
  }

  std::string text() const {
    std::string text;
    for (const Life& life : state.lives) {
      text += "[" + value_of(life.birth) + (life.removed.settled() ? "" : " removed " + value_of(life.removed)) +
              (life.moved ? " moved " + value_of(life.moved->version) : "");
      for (std::size_t i = 0; i < columns; i++) text += " " + value_of(life.columns.of(static_cast<ColumnIndex>(i)));
      if (life.side) {
        text += " aside";
        for (std::size_t i = 1; i < life.side->values.size(); i++) text += " " + std::string(life.side->values[i].text);
      }
      text += "] ";
    }
    text += "shows";
    if (row)
      for (std::size_t i = 1; i < row->size(); i++) text += " " + std::string((*row)[i].text);
    return text;
  }

  Table table;
  RowState state;
  std::optional<OwnedRow> row;
  std::vector<Loss> losses;
};

Replica merged(bool integer_key, const std::vector<Known>& parts, const std::vector<std::size_t>& order) {
  Replica replica(integer_key);
  for (std::size_t part : order) replica.merge(parts[part]);
  return replica;
}

class MergeAlgebra : public ::testing::TestWithParam<bool> {};

TEST_P(MergeAlgebra, OrderDoesNotMatter) {
  for (std::uint64_t seed = 1; seed <= 4000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates), random_part(chance, fates)};
    std::vector<std::size_t> order = {0, 1, 2};
    std::string first = merged(GetParam(), parts, order).text();
    while (std::next_permutation(order.begin(), order.end()))
      ASSERT_EQ(merged(GetParam(), parts, order).text(), first)
          << "seed " << seed << ", order " << order[0] << order[1] << order[2];
  }
}

TEST_P(MergeAlgebra, TwiceIsOnce) {
  for (std::uint64_t seed = 1; seed <= 2000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates)};
    ASSERT_EQ(merged(GetParam(), parts, {0, 1, 1, 0, 0}).text(), merged(GetParam(), parts, {0, 1}).text())
        << "seed " << seed;
  }
}

// What one node has merged arrives at another as a whole: the same as if its parts had come one by one.
TEST_P(MergeAlgebra, GroupingDoesNotMatter) {
  for (std::uint64_t seed = 1; seed <= 2000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates), random_part(chance, fates)};
    Replica relay = merged(GetParam(), parts, {1, 2});
    Known joined;
    for (const Life& life : relay.state.lives) {
      Known::Life part{
          life.birth, life.removed, {}, life.moved != nullptr, life.moved ? life.moved->version : Version{}};
      for (std::size_t i = 0; i < columns; i++) part.versions[i] = life.columns.of(static_cast<ColumnIndex>(i));
      joined.lives.push_back(part);
    }
    Replica through = merged(GetParam(), parts, {0});
    through.merge(joined);
    ASSERT_EQ(through.text(), merged(GetParam(), parts, {0, 1, 2}).text()) << "seed " << seed;
  }
}

// H14: a value that was here or came, and does not show afterwards, is listed or belongs to a life that waits beside
// the table.
TEST_P(MergeAlgebra, WhatDoesNotShowIsListed) {
  for (std::uint64_t seed = 1; seed <= 2000; seed++) {
    Chance chance(seed);
    auto fates = random_fates(chance);
    std::vector<Known> parts = {random_part(chance, fates), random_part(chance, fates)};
    Replica replica = merged(GetParam(), parts, {0, 1});
    std::string traces = replica.text();
    for (const Loss& loss : replica.losses)
      for (std::size_t i = 0; i < loss.loser.size(); i++)
        if (loss.columns.has(static_cast<ColumnIndex>(i))) traces += " " + std::string(loss.loser[i].text);
    for (const Known& part : parts)
      for (const Known::Life& life : part.lives) {
        if (!life.removed.settled() || life.moved) continue;
        for (std::size_t i = 1; i < columns; i++)
          ASSERT_NE(traces.find(value_of(life.versions[i])), std::string::npos)
              << "seed " << seed << ": " << value_of(life.versions[i]) << " in " << traces;
      }
  }
}

INSTANTIATE_TEST_SUITE_P(Keys, MergeAlgebra, ::testing::Bool(),
                         [](auto& info) { return info.param ? std::string("integer") : std::string("natural"); });

}  // namespace
}  // namespace rowmesh
