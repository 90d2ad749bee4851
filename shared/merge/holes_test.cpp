// The holes of simpler readings (docs/model.md has the rules that close them), as far as they can be seen on one key:
// each is the smallest history that such a reading gets wrong. Those that need several nodes are met by the simulator.
#include <gtest/gtest.h>

#include <algorithm>

#include "shared/merge/merge.hpp"

namespace rowmesh {
namespace {

constexpr Origin a = 1, b = 2;

Table table(bool integer_key) {
  Table table;
  table.columns = {{"id", integer_key ? ColumnType::integer : ColumnType::text, "", true, false},
                   {"v", ColumnType::text, "", false, false}};
  table.key = {0};
  table.integer_key = integer_key;
  return table;
}

Row row(const char* text) { return {Value::of_integer(7), Value::of_text(text)}; }

IncomingLife living(Version birth, Version written, RowView values) {
  IncomingLife life;
  life.birth = birth;
  life.columns.base = birth;
  life.columns.set(1, written);
  life.has_values = true;
  life.values = values;
  return life;
}

IncomingLife dead(Version birth, Version removed) {
  IncomingLife life;
  life.birth = birth;
  life.columns.base = birth;
  life.removed = removed;
  return life;
}

// One node's knowledge of the key.
struct Here {
  explicit Here(bool integer_key) : table(rowmesh::table(integer_key)) {}

  void merge(std::vector<IncomingLife>&& lives) {
    MergeContext context{.table = table,
                         .prune_horizon = prune_horizon,
                         .sender_horizon = prune_horizon,
                         .truncated = truncated,
                         .sender_truncated = truncated,
                         .copy = copy,
                         .had_seen = [this](Version, Version) { return all_seen; }};
    std::optional<OwnedRow> desired;
    merge_lives(state, lives, shown ? shown->view() : RowView(), context, losses, desired);
    state.set_in_table(desired ? shown_life(state, table.keeps_lives_apart(), truncated) : nullptr);
    shown = std::move(desired);
  }
  std::string text() const { return shown ? std::string((*shown)[1].text) : "nothing"; }

  Table table;
  RowState state;
  std::optional<OwnedRow> shown;
  std::vector<Loss> losses;
  Hlc prune_horizon = 0;
  Version truncated;
  bool all_seen = false, copy = false;
};

// An old put, met after the delete of its row was forgotten, brings nothing back: its birth lies below G and is not
// known here.
TEST(Holes, H3_AStalePutDoesNotResurrect) {
  Here here(false);
  here.prune_horizon = 20;
  Row old = row("old");
  std::vector<IncomingLife> lives;
  lives.push_back(living({5, a}, {25, b}, old));  // an update newer than the delete, of a row that is gone
  here.merge(std::move(lives));
  EXPECT_EQ(here.text(), "nothing");
  ASSERT_EQ(here.losses.size(), 1u);
  EXPECT_EQ(here.losses[0].type, "update_missing");
}

// Symptom: a new node that began its copy again showed rows as two that had become one. Mechanism: a row had come as
// settled, and after a restart its source knew its birth again; what a copy brings was taken for new. Mend: a life of a
// copy that has settled here is the one that came without a birth.
TEST(Holes, H4_ARowThatIsCopiedAgainByItsBirthIsNoSecondOne) {
  Here here(false);
  here.prune_horizon = 20;
  here.copy = true;
  Row copied = row("copied");
  for (Version birth : {Version{}, Version{5, a}}) {
    std::vector<IncomingLife> lives;
    lives.push_back(living(birth, {25, b}, copied));
    here.merge(std::move(lives));
  }
  EXPECT_EQ(here.text(), "copied");
  EXPECT_EQ(here.state.lives.size(), 1u);
}

// Deleted and inserted again between two documents: the first life is dead, so the second is no collision and its
// columns are its own.
TEST(Holes, H4_DeleteAndInsertInOneDocument) {
  Here here(true);
  Row first = row("first"), edited = row("edited here"), second = row("second");
  std::vector<IncomingLife> lives;
  lives.push_back(living({5, a}, {5, a}, first));
  here.merge(std::move(lives));
  lives.clear();
  lives.push_back(living({5, a}, {9, b}, edited));
  here.merge(std::move(lives));
  lives.clear();
  lives.push_back(dead({5, a}, {7, a}));
  lives.push_back(living({8, a}, {8, a}, second));
  here.merge(std::move(lives));
  EXPECT_EQ(here.text(), "second");
  EXPECT_FALSE(here.state.has_side());
  EXPECT_EQ(here.losses.back().type, "update_deleted");
}

// Symptom: a row that had been deleted and inserted again was gone on one server. Mechanism: both had settled there; on
// the other, where the table had waited, somebody deleted the first one without knowing of the second, and that delete
// hit the only life that was known. Mend: of two old lives in a document the one that goes on is what settled here.
TEST(Holes, H4_ALaterDeleteOfAFormerLifeHitsThatOneOnly) {
  for (bool integer_key : {false, true})
    for (Version former : {Version{5, a}, Version{}}) {  // as its sender knows it
      Here here(integer_key);
      here.prune_horizon = 20;
      Row second = row("second");
      here.state.lives.emplace_back();
      here.shown = OwnedRow(second);
      std::vector<IncomingLife> lives;
      lives.push_back(dead(former, {30, b}));
      lives.push_back(living({8, a}, {8, a}, second));
      here.merge(std::move(lives));
      EXPECT_EQ(here.text(), "second") << former.hlc;
    }
}

// Two inserts of a natural key; one life was edited and then deleted by somebody who had not seen the other. Whatever
// comes first: a column never leaves its life.
TEST(Holes, H5_LivesAreIndependent) {
  Row edited = row("edited"), other = row("other");
  for (bool delete_first : {false, true}) {
    Here here(false);
    auto edit = [&] {
      std::vector<IncomingLife> lives;
      lives.push_back(living({1, a}, {9, a}, edited));
      here.merge(std::move(lives));
    };
    auto insert = [&] {
      std::vector<IncomingLife> lives;
      lives.push_back(living({2, b}, {2, b}, other));
      here.merge(std::move(lives));
    };
    auto remove = [&] {
      std::vector<IncomingLife> lives;
      lives.push_back(dead({1, a}, {10, a}));
      here.merge(std::move(lives));
    };
    if (delete_first) {
      remove();
      insert();
    } else {
      edit();
      insert();
      EXPECT_EQ(here.text(), "edited");
      remove();
    }
    EXPECT_EQ(here.text(), "other") << (delete_first ? "delete first" : "delete last");
  }
}

// A value that loses to one whose writer had not seen it is listed; otherwise not.
TEST(Holes, H14_OnlyWhatWasNotSeenIsListed) {
  for (bool seen : {false, true}) {
    Here here(false);
    here.all_seen = seen;
    Row one = row("one"), two = row("two");
    std::vector<IncomingLife> lives;
    lives.push_back(living({1, a}, {3, a}, one));
    here.merge(std::move(lives));
    lives.clear();
    lives.push_back(living({1, a}, {4, b}, two));
    here.merge(std::move(lives));
    EXPECT_EQ(here.text(), "two");
    EXPECT_EQ(here.losses.size(), seen ? 0u : 1u);
  }
}

// The truncate is judged before lives are matched: the delete of an old life must not hit the young one that took its
// place.
TEST(Holes, H15_TruncateBeforeMatching) {
  Here here(false);
  Row young = row("young");
  here.truncated = {10, a};
  std::vector<IncomingLife> lives;
  lives.push_back(living({12, a}, {12, a}, young));
  here.merge(std::move(lives));
  for (Life& life : here.state.lives) {  // it has settled here
    life.birth = {};
    life.columns.set_all({});
  }
  here.prune_horizon = 15;
  here.truncated = {};
  std::vector<IncomingLife> old;
  old.push_back(dead({5, a}, {20, b}));
  MergeContext context{.table = here.table,
                       .prune_horizon = 15,
                       .sender_horizon = 8,
                       .sender_truncated = {10, a},
                       .had_seen = [](Version, Version) { return true; }};
  std::optional<OwnedRow> desired;
  merge_lives(here.state, old, here.shown->view(), context, here.losses, desired);
  ASSERT_TRUE(desired);
  EXPECT_EQ((*desired)[1].text, "young");
}

// Inserted, deleted and inserted again in one transaction: one life.
TEST(Holes, H16c_OneTransactionIsOneLife) {
  RowState state;
  fold_insert(state, {5, a}, true, {});
  fold_remove(state, {5, a}, true, {});
  EXPECT_FALSE(state.find({5, a}));  // nobody will ever hear of it
  fold_insert(state, {5, a}, true, {});
  ASSERT_EQ(std::count_if(state.lives.begin(), state.lives.end(), [](const Life& life) { return !life.dead({}); }), 1);
  EXPECT_EQ(shown_life(state, true, {})->birth, (Version{5, a}));
}

// Two moves of one life: everybody follows the same.
TEST(Holes, H12_TwoMovesEndInOne) {
  for (bool other_way : {false, true}) {
    Here here(true);
    Row one = row("one");
    std::vector<IncomingLife> lives;
    lives.push_back(living({1, a}, {1, a}, one));
    here.merge(std::move(lives));
    auto move = [&](Version version, const char* to) {
      std::vector<IncomingLife> moved;
      moved.push_back(dead({1, a}, {}));
      moved.back().moved = std::make_unique<Move>(Move{version, to, version, {}});
      here.merge(std::move(moved));
    };
    if (other_way) move({8, b}, "there");
    move({7, a}, "here");
    if (!other_way) move({8, b}, "there");
    EXPECT_EQ(here.text(), "nothing");
    EXPECT_EQ(here.state.lives[0].moved->to_key, "there");
  }
}

}  // namespace
}  // namespace rowmesh
