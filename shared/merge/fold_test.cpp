#include "shared/merge/fold.hpp"

#include <gtest/gtest.h>

namespace rowmesh {
namespace {

constexpr Origin here = 7;

// Symptom: after a table was emptied by a session with session_replication_role = replica (or TRUNCATEd so, or with
// triggers switched off), rows inserted under the same integer keys never reached the other servers, and the side table
// of each filled up. Mechanism: the life of before was still taken for the one in the table, so the new one had to wait
// behind it. Fix: an insert finds no row in its place, so whatever was thought to be there is gone.
TEST(Fold, InsertWhereARowWentUnnoticed) {
  for (bool integer_key : {true, false}) {
    RowState state;
    fold_insert(state, {10, here}, integer_key, {});
    fold_insert(state, {20, here}, integer_key, {});
    ASSERT_EQ(state.lives.size(), 2u);
    EXPECT_EQ(state.lives[0].removed, (Version{20, here}));
    const Life* shown = shown_life(state, integer_key, {});
    ASSERT_TRUE(shown);
    EXPECT_EQ(shown->birth, (Version{20, here}));
    EXPECT_EQ(state.in_table(), shown);
  }
}

// A life from another server that the insert had not seen is none of its business.
TEST(Fold, InsertLeavesWhatItHadNotSeen) {
  RowState state;
  Life foreign({15, 8});
  foreign.applied_at = 30;
  state.add(foreign);
  fold_insert(state, {20, here}, true, {});
  ASSERT_EQ(state.lives.size(), 2u);
  EXPECT_TRUE(state.lives[0].removed.settled());
}

// A life that came at 18, waited, and was put into the table at 30.
RowState shown_later() {
  RowState state;
  Life waited({15, 8});
  waited.applied_at = 18;
  waited.shown_at = 30;
  state.add(waited);
  return state;
}

// A row that had waited was put into the table after somebody had inserted and deleted one of its key in a transaction,
// which the log brought only then: the row was taken for deleted while it stood in the table, and what was written to
// it afterwards was lost (Life::shown_at).
TEST(Fold, ARowThatWasShownLaterIsNotDeleted) {
  RowState state = shown_later();
  fold_insert(state, {20, here}, false, {});
  fold_remove(state, {20, here}, false, {});
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_TRUE(state.lives[0].removed.settled());
  EXPECT_TRUE(state.lives[0].in_table);
}

// The same for an update, which only ships the key anew: no row of before comes to be.
TEST(Fold, ARowThatWasShownLaterIsTheOnlyOne) {
  RowState state = shown_later();
  fold_update(state, {20, here}, {}, 3, false);
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_EQ(state.lives[0].birth, (Version{15, 8}));
}

// Symptom: after a kill -9 a renumbered row was there twice. Mechanism: a key that was noted only so that it is shipped
// was folded as an edit of a row that was there before the life the key had by then. Mend: it adds no life.
TEST(Fold, AKeyThatIsOnlyToBeShippedAddsNoLife) {
  RowState state;
  Life moved_here({25, here});
  moved_here.applied_at = 30;
  state.add(moved_here);
  fold_update(state, {20, here}, {}, 3, false);
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_EQ(state.lives[0].birth, (Version{25, here}));
  EXPECT_TRUE(state.lives[0].in_table);
}

// The update of a trigger is logged before the insert that it belongs to.
TEST(Fold, InsertAfterItsOwnUpdate) {
  RowState state;
  ColumnSet columns;
  columns.add(1);
  fold_update(state, {20, here}, columns, 3, false);
  fold_insert(state, {20, here}, true, {});
  ASSERT_EQ(state.lives.size(), 1u);
  EXPECT_EQ(state.lives[0].birth, (Version{20, here}));
}

}  // namespace
}  // namespace rowmesh
