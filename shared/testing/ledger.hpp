// Nothing that was committed may be lost without a trace. Every value that the workload writes is unique, so its fate
// can be looked up in the end: it is there, or somebody replaced or removed it who had seen it, or it is listed as a
// conflict.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/model/value.hpp"

namespace rowmesh::testing {

class Ledger {
 public:
  // What one transaction did; taken over when it commits.
  struct Page {
    std::vector<std::string> written;
    std::vector<std::string> seen_gone;           // replaced or removed by somebody who saw them
    std::vector<std::string> carried;             // to another key, with the rest of their row
    std::map<std::string, std::string> replaced;  // by which value
  };
  static void replace(Page& page, const Value& old, const Value& value) {
    if (is_written(old) && is_written(value)) page.replaced[name_of(old.text)] = name_of(value.text);
  }
  static void carry(Page& page, RowView row) {
    for (const Value& value : row)
      if (is_written(value)) page.carried.push_back(name_of(value.text));
  }
  static void wrote(Page& page, const Value& value) {
    if (is_written(value)) page.written.push_back(name_of(value.text));
  }
  static void saw_go(Page& page, RowView row) {
    for (const Value& value : row)
      if (is_written(value)) page.seen_gone.push_back(name_of(value.text));
  }
  // Of a JSON object: what the side table shows of a row.
  static void saw_go(Page& page, const std::string& json) {
    for (std::string& value : values_in(json)) page.seen_gone.push_back(std::move(value));
  }
  void take(const Page& page, const std::string& who) {
    for (auto& value : page.written) written_[value] = {who, ++count_};
    gone_.insert(page.seen_gone.begin(), page.seen_gone.end());
    carried_.insert(page.carried.begin(), page.carried.end());
    for (auto& [old, value] : page.replaced) replaced_[old] = value;
  }
  static bool is_written(const Value& value) { return value.kind == ValueKind::text && value.text.starts_with("v"); }
  // Two who carry a row to two places make two rows of it, and one who has not seen an edit of it carries what was
  // there before.
  bool carried(const std::string& value) const { return carried_.contains(value); }

  // A backup is put back: what was written there since `then` may be gone, if nobody else had it.
  std::uint64_t now() const { return count_; }
  void forgive(const std::string& who, std::uint64_t then) {
    std::erase_if(written_, [&](auto& one) { return one.second.who == who && one.second.number > then; });
  }

  // Two ran under one identity meanwhile, and nobody had noticed.
  void forgive_between(std::uint64_t then, std::uint64_t until) {
    std::erase_if(written_, [&](auto& one) { return one.second.number > then && one.second.number <= until; });
  }

  // A machine is gone for good: what nobody else had got of it.
  void forgive_unless(const std::string& who, const std::set<std::string>& got) {
    std::erase_if(written_, [&](auto& one) { return one.second.who == who && !got.count(one.first); });
  }

  // And those of another one that left before which it had, and nobody else.
  void forgive_those(const std::string& who, const std::set<std::string>& had, const std::set<std::string>& got) {
    std::erase_if(written_, [&](auto& one) {
      return one.second.who == who && had.contains(one.first) && !got.contains(one.first);
    });
  }

  void give_up(const std::string& value) { gone_.insert(value); }  // by a person who saw it

  // What was listed on the node that is put back goes with its list.
  void forget(const std::string& value) { written_.erase(value); }

  // Written values of which `present` and `listed` know nothing.
  std::vector<std::string> lost(const std::set<std::string>& present, const std::set<std::string>& listed) const {
    std::vector<std::string> lost;
    for (auto& [value, by] : written_)
      if (!gone_.count(value) && !present.count(value) && !listed.count(value)) lost.push_back(value + " of " + by.who);
    return lost;
  }

  // A value may be made big by what stands behind its name.
  static constexpr char padding = '~';
  static std::string name_of(std::string_view value) { return std::string(value.substr(0, value.find(padding))); }

  // What took its place; empty: nothing did.
  std::string successor(const std::string& value) const {
    auto at = replaced_.find(value);
    return at == replaced_.end() ? "" : at->second;
  }
  bool gone(const std::string& value) const { return gone_.contains(value); }
  // Those that this one committed as number `after` + 1 to `upto`.
  std::vector<std::string> written_by(const std::string& who, std::uint64_t after, std::uint64_t upto) const {
    std::vector<std::string> values;
    for (auto& [value, by] : written_)
      if (by.who == who && by.number > after && by.number <= upto) values.push_back(value);
    return values;
  }

  // The workload's values in a text: v and digits, in quotes.
  static std::vector<std::string> values_in(const std::string& text) {
    std::vector<std::string> values;
    for (std::size_t at = text.find("\"v"); at != std::string::npos; at = text.find("\"v", at + 2)) {
      std::size_t end = text.find_first_not_of("0123456789", at + 2);
      if (end != std::string::npos && end > at + 2 && (text[end] == '"' || text[end] == padding))
        values.push_back(text.substr(at + 1, end - at - 1));
    }
    return values;
  }

 private:
  struct By {
    std::string who;
    std::uint64_t number = 0;  // in the order in which they were taken over
  };
  std::map<std::string, By> written_;
  std::uint64_t count_ = 0;
  std::set<std::string> gone_, carried_;
  std::map<std::string, std::string> replaced_;
};

}  // namespace rowmesh::testing
