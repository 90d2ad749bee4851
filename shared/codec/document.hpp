// The wire document (docs/protocol.md): NDJSON, a header line, then table, version and row lines, then a trailer with
// count and checksum. One document is one snapshot of the sender and one transaction of the receiver.
//
// Lines after the header, all arrays but the table line:
//   {"table":0,"name":"items","columns":[["id","integer"],...],"key":[0],"integer_key":true}   describes table 0
//   ["v",hlc,"origin hex"]             the next version number: the first such line is version 1; 0 is "settled"
//   [0,table,birth,columns,[values]]   a row with one life, which lives: `columns` is a version number, or an array of
//   one per column [1,table,[key],birth,removed]      a row with one life, which is dead [2,table,[key],[life,...]]
//   anything else; life = [birth,removed,move|null,columns,[values]|null],
//                                      move = [version,[key],birth,columns]
//   {"end":lines,"sum":"16 hex digits"}  number of row lines ([0..2]); XXH-like 64-bit checksum over all bytes before
//   this line
// Values: null, true, false, numbers (a double always has '.' or 'e' in it), strings; {"b":"base64"} for bytes,
// {"f":"NaN"|"Infinity"|"-Infinity"},
// {"t":"base64"} for text that is not UTF-8 or holds NUL (text, bytes as they are), {"x":1} for omitted.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shared/http/body.hpp"
#include "shared/merge/row_state.hpp"

namespace rowmesh {

using Vector = std::map<Origin, Position>;  // applied (or offered) position per origin

// What an origin said of itself (model 1.5).
struct OriginMeta {
  PositionNumber position = 0;
  Hlc watermark = 0;
  Hlc horizon = 0;
  std::map<Origin, Hlc> received;  // R: the watermark it has of each other origin
  Hlc newest = 0;  // the newest version that it gave itself, up to this position; it must know it again (identity.cpp)
  std::optional<std::set<Origin>> servers = {};  // of which it takes changes; none: it has not said

  bool operator==(const OriginMeta&) const = default;
};

struct Member {
  std::string node;  // UUID
  std::string name;
  bool left = false;  // given up, or an earlier incarnation: it holds nothing back any more
  // Each node finds out by itself (NodeState::judge_members); who has not seen anybody have it as a server is told.
  bool linked = false;   // somebody had it as a server; travels with `removed` only
  bool removed = false;  // and nobody has any more

  bool away() const { return left || removed; }
  bool operator==(const Member&) const = default;
};

// Which row a reference means, where another one has its number by now at who wrote it.
struct SaidMeaning {
  std::string table;  // of the row that refers
  Key key;            // as the sender encodes it
  std::string column;
  Version written;  // what it wrote to the reference, of which this holds
  std::int64_t number = 0;
  Version birth;  // of the row that is meant
  Hlc since = 0;  // when that was noted, by the writer's clock

  bool operator==(const SaidMeaning&) const = default;
};

enum class DocumentKind : std::uint8_t { changes, copy };

struct DocumentHeader {
  int protocol = 1;
  DocumentKind kind = DocumentKind::changes;
  Origin sender = 0;
  std::string node;  // sender's UUID
  Hlc hlc = 0;
  Hlc prune_horizon = 0;  // G
  Hlc horizon = 0;        // H at the snapshot
  Hlc newest =
      0;  // no version among the changes from `from` to `to` is newer, those that no row tells of any more included
  Hlc awaited = 0;  // something is kept here, or was said to be kept elsewhere, until G has passed this; 0: nothing is
  Hlc settled = 0;  // what it calls settled may be as late as that, though its G is not: it was told so; 0: it is not
  Vector from, to;  // copy: `to` is the sender's vector at the snapshot, `from` empty
  std::map<Origin, OriginMeta> metas;
  std::map<Origin, Member> members;
  std::map<std::string, Version> truncates;  // wire table name -> T
  std::vector<SaidMeaning> meant;            // of references in rows of this document
  // Of these tables (`behind`) the document also brings the changes between two vectors of their own: the receiver had
  // to leave them out before.
  bool partial = false;  // some tables are left out on purpose: whoever gets it hands it on to nobody
  struct Span {
    Vector from, to;
  };
  std::map<std::string, Span> behind;
  // Of these tables the sender has itself only what other origins did up to these positions.
  std::map<std::string, Vector> parked;
  std::set<std::string> given_up;  // and of those, these will never come as changes
  // copy only: the table, and whether rows after the last one remain
  std::string copy_table;
  bool copy_more = false;
  std::uint64_t copy_total = 0;  // rows in the table, about
};

struct WireTable {
  std::string name;
  std::vector<std::string> columns;
  std::vector<ColumnType> types;
  std::vector<std::uint32_t> key;  // positions in `columns`
  bool integer_key = false;
};

// A life as it travels. `values` is empty when not sent (dead), else one per column of the WireTable.
struct WireLife {
  Version birth, removed;
  std::vector<Version> versions;  // empty: all columns bear `base`; else one per column
  Version base;
  bool has_move = false;
  Version move_version, move_birth;
  Row move_key;
  std::vector<Version> move_seen;  // one per column
  bool has_values = false;
  Row values;
};

// One row line. The views live until the next call of DocumentReader::next.
struct WireRow {
  std::uint32_t table = 0;
  Row key;                      // in the order of WireTable::key
  std::vector<WireLife> lives;  // at least one; re-used between rows so that nothing is allocated per row: see `count`
  std::size_t count = 0;        // lives that count
};

class DocumentWriter {
 public:
  // `compress`: zstd level 1.
  DocumentWriter(const DocumentHeader& header, bool compress);
  ~DocumentWriter();
  // Returns the number to give to the row calls.
  std::uint32_t add_table(const Table& table);
  // A row with one living life whose values are `row` (all columns of the table, in its order; omitted allowed).
  void add_row(std::uint32_t table, Version birth, const ColumnVersions& versions, RowView row);
  void add_removed(std::uint32_t table, KeyView key, Version birth, Version removed);
  // Several lives, or a moved one. `rows[i]`: the values of lives[i], empty if none are to be sent.
  void add_lives(std::uint32_t table, KeyView key, const std::vector<const Life*>& lives,
                 const std::vector<RowView>& rows);
  std::uint64_t rows() const;
  std::uint64_t raw_bytes() const;  // before compression
  std::shared_ptr<Body> finish();   // writes the trailer

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Strict and bounded: every line is checked before it is given out; whatever does not fit throws Error(protocol). The
// trailer is checked by next() before it returns null, so a truncated or altered document always throws before its end
// is reported.
class DocumentReader {
 public:
  // `compressed`: as the Content-Encoding header said ("zstd").
  DocumentReader(std::shared_ptr<const Body> body, bool compressed);
  ~DocumentReader();
  const DocumentHeader& header() const;
  // null at the end. Tables that the row needs are in tables() by then.
  const WireRow* next();
  const std::vector<WireTable>& tables() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The parser's own static objects are made at its first use, and destroyed at exit in the reverse order: a program that
// reads documents in a thread which an exit handler of its own ends calls this before it registers the handler ("pure
// virtual method called" at exit otherwise).
void prepare_document_parser();

// Reads the whole document once without keeping anything: throws what next() would throw. A document is checked before
// its transaction begins.
void check_document(std::shared_ptr<const Body> body, bool compressed);

// One value, one row as JSON text for views: {"column": value, ...}.
void append_json_value(std::string& out, const Value& value);
void append_json_string(std::string& out, std::string_view text);
std::string row_to_json(const Table& table, RowView row, const ColumnSet* only = nullptr);

}  // namespace rowmesh
