// Random transactions as applications make them, over two tables: `things` (a number the engine hands out) and `names`
// (a natural key and a UNIQUE column).
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>

#include "shared/testing/ledger.hpp"
#include "shared/testing/memory_store.hpp"
#include "shared/testing/simulated_network.hpp"

namespace rowmesh::testing {

struct Plan;

class Workload {
 public:
  explicit Workload(std::unique_ptr<MemoryStore>& store) : store_(store) {}

  static void create_tables(MemoryStore& store, const Plan& plan);
  static void rename_column(MemoryStore& store, const std::string& table,
                            bool renamed);  // so that the table fits no other node's
  static void toggle_check(MemoryStore& store, SeededRandom& random);
  // Empty: the table's rows are the same in both.
  static std::string wrong_reference(const MemoryStore& store, const std::set<std::string>& contested);
  static std::string difference(const MemoryStore& left, const MemoryStore& right, const std::string& table);

  // One transaction on this node, or the end of one that was prepared. Returns what it did; empty: nothing, or it was
  // refused.
  std::string operator()(const Plan& plan, Ledger& ledger, SeededRandom& random, std::size_t node);
  std::set<std::string> parts_written() const;  // by their codes, whether they were committed or not
  bool has_prepared() const { return !prepared_.empty(); }
  void forget_prepared() { prepared_.clear(); }       // a backup without them was put back
  void finish(Ledger& ledger, SeededRandom& random);  // ends all prepared transactions

 private:
  std::string end_prepared(Ledger& ledger, SeededRandom& random);
  void change_things(SeededRandom& random);
  Value mark(SeededRandom& random) const;
  void change_references(const OwnedRow& to, SeededRandom& random);
  void insert_part(std::int64_t thing, const std::string& who);
  void change_names(const Plan& plan, SeededRandom& random);
  void change_seats(SeededRandom& random);
  void truncate_names();
  void replace_name(const Key& key, OwnedRow row);
  void insert(const std::string& table, const OwnedRow& row);
  void update(const std::string& table, const Key& key, std::size_t column, const Value& value);
  void remove(const std::string& table, const Key& key);
  std::string fresh();
  std::string part_code(std::uint64_t number) const;
  bool all_lives_go(const std::string& table) const;

  std::unique_ptr<MemoryStore>& store_;
  std::size_t node_ = 0;
  std::uint64_t values_ = 0, parts_ = 0;
  bool big_ = false, merge_ = false, numbered_ = false, marked_ = false;  // of the plan
  Ledger::Page page_;
  std::string story_;
  std::map<std::uint64_t, std::pair<Ledger::Page, std::string>> prepared_;
};

}  // namespace rowmesh::testing
