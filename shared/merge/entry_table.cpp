#include "shared/merge/entry_table.hpp"

#include <algorithm>
#include <new>

namespace rowmesh {
namespace {

constexpr std::size_t first_slots = 16;

std::size_t hash_of(KeyView key) { return std::hash<KeyView>{}(key); }

}  // namespace

EntryTable::~EntryTable() {
  for (auto& block : blocks_)
    for (std::uint32_t place = 0; block && place < block->begun; place++)
      if (block->taken[place]) block->at(place)->~Node();
}

// The slot for which `same` holds, or the empty one where it would be.
template <typename Same>
std::size_t EntryTable::probe(const Shard& shard, std::uint32_t hash, Same same) {
  std::size_t mask = shard.slots.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = shard.slots[at];
    if (slot.number == 0 || (slot.hash == hash && same(node(slot.number)))) return at;
  }
}

Entry* EntryTable::find(KeyView key) {
  std::size_t hash = hash_of(key);
  Shard& shard = shards_[hash >> 58];
  if (shard.slots.empty()) return nullptr;
  std::size_t at = probe(shard, static_cast<std::uint32_t>(hash), [&](const Node& node) { return node.key == key; });
  return shard.slots[at].number == 0 ? nullptr : &node(shard.slots[at].number).entry;
}

Entry& EntryTable::get(TableId table, KeyView key, bool& made) {
  std::size_t hash = hash_of(key);
  Shard& shard = shards_[hash >> 58];
  if (4 * (shard.used + 1) > 3 * shard.slots.size()) grow(shard);
  std::size_t at = probe(shard, static_cast<std::uint32_t>(hash), [&](const Node& node) { return node.key == key; });
  Slot& slot = shard.slots[at];
  made = slot.number == 0;
  if (!made) return node(slot.number).entry;
  std::uint32_t number = take_place();
  Node* added = new (&node(number)) Node{Key(key), {}};
  blocks_[(number - 1) / block_entries]->taken[(number - 1) % block_entries] = true;
  added->entry.table = table;
  added->entry.key = &added->key;
  slot = {static_cast<std::uint32_t>(hash), number};
  shard.used++;
  size_++;
  return added->entry;
}

void EntryTable::grow(Shard& shard) {
  std::vector<Slot> before = std::move(shard.slots);
  shard.slots.assign(std::max(first_slots, 2 * before.size()), {});
  for (const Slot& slot : before)
    if (slot.number != 0) shard.slots[probe(shard, slot.hash, [](const Node&) { return false; })] = slot;
}

void EntryTable::erase(Entry& entry) {
  std::size_t hash = hash_of(*entry.key);
  Shard& shard = shards_[hash >> 58];
  std::size_t mask = shard.slots.size() - 1;
  std::size_t hole =
      probe(shard, static_cast<std::uint32_t>(hash), [&](const Node& node) { return &node.entry == &entry; });
  std::uint32_t number = shard.slots[hole].number;
  // Whoever was pushed past the hole moves up, so that no search stops at it.
  for (std::size_t at = (hole + 1) & mask; shard.slots[at].number != 0; at = (at + 1) & mask) {
    std::size_t wanted = shard.slots[at].hash & mask;
    if (((at - wanted) & mask) < ((at - hole) & mask)) continue;
    shard.slots[hole] = shard.slots[at];
    hole = at;
  }
  shard.slots[hole] = {};
  size_--;
  if (--shard.used == 0) std::vector<Slot>().swap(shard.slots);
  give_back(number);
}

std::uint32_t EntryTable::take_place() {
  if (with_room_.empty()) {
    std::uint32_t fresh = static_cast<std::uint32_t>(blocks_.size());
    if (vacant_.empty()) {
      blocks_.emplace_back();
    } else {
      fresh = vacant_.back();
      vacant_.pop_back();
    }
    blocks_[fresh] = std::make_unique<Block>();
    with_room_.push_back(fresh);
  }
  std::uint32_t which = with_room_.back();
  Block& block = *blocks_[which];
  std::uint32_t place = block.begun;
  if (block.given_back.empty()) {
    block.begun++;
  } else {
    place = block.given_back.back();
    block.given_back.pop_back();
  }
  if (++block.used == block_entries) with_room_.pop_back();
  return which * block_entries + place + 1;
}

void EntryTable::give_back(std::uint32_t number) {
  std::uint32_t which = (number - 1) / block_entries, place = (number - 1) % block_entries;
  Block& block = *blocks_[which];
  block.at(place)->~Node();
  block.taken[place] = false;
  block.given_back.push_back(static_cast<std::uint16_t>(place));
  if (block.used-- == block_entries) with_room_.push_back(which);
  if (block.used > 0) return;
  std::erase(with_room_, which);
  blocks_[which] = nullptr;
  vacant_.push_back(which);
}

void EntryTable::for_each(const std::function<void(Entry&)>& visit) {
  for (auto& block : blocks_)
    for (std::uint32_t place = 0; block && place < block->begun; place++)
      if (block->taken[place]) visit(block->at(place)->entry);
}

}  // namespace rowmesh
