// The entries of one table, found by key. They stay at their address until they are erased.
//
// Entries lie in blocks in the order in which they came, so that a run of neighbouring keys is read from neighbouring
// memory, and a block that has emptied goes back as a whole. Beside them is an open hash of 8 bytes a key, in shards
// that grow one by one: a single one stalls for 0.2 s and more when it doubles, and a map of nodes costs two cache
// misses and an allocation a key (a third of what shipping took).
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "shared/merge/row_state.hpp"

namespace rowmesh {

struct Entry {
  TableId table = 0;
  const Key* key = nullptr;
  RowState state;                // lives empty: just made, nothing known
  std::uint32_t references = 0;  // batches that name it
  std::uint32_t mark = 0;        // of the last gathering that met it
  bool side_stored = false;      // the side table has a row of it
};

class EntryTable {
 public:
  EntryTable() = default;
  EntryTable(const EntryTable&) = delete;
  ~EntryTable();

  Entry* find(KeyView key);
  Entry& get(TableId table, KeyView key, bool& made);  // makes it if it is not there
  void erase(Entry& entry);
  void for_each(const std::function<void(Entry&)>& visit);  // which must not make or erase any
  std::size_t size() const { return size_; }

 private:
  static constexpr std::uint32_t block_entries = 512;
  struct Node {
    Key key;
    Entry entry;
  };
  struct Block {
    alignas(Node) std::byte room[block_entries * sizeof(Node)];
    std::uint32_t begun = 0, used = 0;  // places ever used; in use now
    std::vector<std::uint16_t> given_back;
    std::array<bool, block_entries> taken{};
    Node* at(std::uint32_t place) { return reinterpret_cast<Node*>(room) + place; }
  };
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t number = 0;  // of the node, from 1; 0: empty
  };
  struct Shard {
    std::vector<Slot> slots;  // a power of two, three quarters full at most
    std::uint32_t used = 0;
  };

  Node& node(std::uint32_t number) { return *blocks_[(number - 1) / block_entries]->at((number - 1) % block_entries); }
  template <typename Same>
  std::size_t probe(const Shard& shard, std::uint32_t hash, Same same);
  void grow(Shard& shard);
  std::uint32_t take_place();
  void give_back(std::uint32_t number);

  std::array<Shard, 64> shards_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::uint32_t> with_room_, vacant_;  // blocks; numbers of blocks that went back
  std::size_t size_ = 0;
};

}  // namespace rowmesh
