#include "shared/merge/row_state.hpp"

#include <algorithm>

namespace rowmesh {

Life& Life::operator=(const Life& other) {
  if (this == &other) return *this;
  birth = other.birth;
  removed = other.removed;
  columns = other.columns;
  moved = other.moved ? std::make_unique<Move>(*other.moved) : nullptr;
  side = other.side ? std::make_unique<Side>(*other.side) : nullptr;
  in_table = other.in_table;
  meant = other.meant;
  told = other.told;
  contested = other.contested;
  applied_at = other.applied_at;
  shown_at = other.shown_at;
  return *this;
}

Life* RowState::find(Version birth) {
  for (Life& life : lives)
    if (life.birth == birth) return &life;
  return nullptr;
}

Life& RowState::add(Life life) {
  auto at = std::lower_bound(lives.begin(), lives.end(), life.birth,
                             [](const Life& here, const Version& birth) { return here.birth < birth; });
  return *lives.insert(at, std::move(life));
}

void RowState::order() {
  std::sort(lives.begin(), lives.end(), [](const Life& left, const Life& right) { return left.birth < right.birth; });
}

Life* RowState::in_table() {
  for (Life& life : lives)
    if (life.in_table) return &life;
  return nullptr;
}

void RowState::set_in_table(const Life* one) {
  for (Life& life : lives) life.in_table = &life == one;
}

bool RowState::has_side() const {
  return std::any_of(lives.begin(), lives.end(), [](const Life& life) { return life.side != nullptr; });
}

bool RowState::contested() const {
  return std::any_of(lives.begin(), lives.end(), [](const Life& life) { return life.contested; });
}

Version RowState::newest() const {
  Version newest;
  for (const Life& life : lives) newest = std::max(newest, life.newest());
  return newest;
}

}  // namespace rowmesh
