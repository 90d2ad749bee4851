// The small JSON answers between servers (docs/protocol.md): hello and the answer to a document.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "shared/sync/copy_waits.hpp"
#include "shared/sync/core.hpp"
#include "shared/sync/peer.hpp"
#include "shared/sync/wanted_rows.hpp"

namespace rowmesh {

// Which question for changes this is: to which run of the worker, from which, and the how-manieth of that.
struct Question {
  std::uint64_t to = 0, by = 0, count = 0;
};

struct Progress {  // in hello and in every answer to a document
  Vector applied;
  std::map<std::string, ParkedTable> parked;  // by wire name
  std::set<Origin> direct;
  // The watermark that it has of each origin now. What it announced earlier does not count: an older state of it may
  // have been put back since.
  std::optional<std::map<Origin, Hlc>> received;
  bool accepts_unknown = true;
  bool busy = false;
  std::optional<Question> question;  // where changes are asked for
};

struct Hello {
  int protocol_min = 1, protocol_max = 1;
  std::string node, name, version;
  Origin origin = 0;
  std::uint64_t instance = 0;  // of this run of its worker, random
  std::uint64_t clock_ms = 0;
  Progress progress;
  bool ask_me = false;      // this server has no URL for you: what it has for you, you must ask for
  bool old_secret = false;  // the request was signed with a secret that was replaced here
  bool partial = false;     // you get some tables only
  bool zstd = false;        // takes and makes compressed documents
  std::string copy_error;   // why the copy that you asked for ended early
  PositionNumber your_position =
      0;  // of you, the asker: how far I have you, and the newest version in it that you gave yourself
  Hlc your_newest = 0;
  bool returning = false;               // NodeState::returning: there is nothing to be had from me yet
  std::optional<Base> base;             // none: I take my first copy just now
  bool closed = false;                  // you greet as an earlier incarnation of yourself
  bool needs_copy = false;              // my log does not reach back to you any more
  PositionNumber needs_copy_as_of = 0;  // judged when you were there
  std::optional<std::set<Origin>>
      servers;              // OriginMeta::servers: known at once, also of who cannot announce anything yet
  std::set<Origin> former;  // earlier incarnations of the sender
  struct HelloTable {
    std::string name;
    std::vector<std::string> columns;
    std::vector<std::string> key;
    bool integer_key = false;
    bool exchanged = true;  // with you: it is one of the tables that you get
  };
  std::vector<HelloTable> tables;
};

std::string progress_to_json(const Progress& progress, std::uint64_t rows, std::uint64_t conflicts);
std::string hello_to_json(const Hello& hello);
std::string error_to_json(const std::string& error, const std::string& text, const Progress* progress,
                          const WantedRows& wanted = {}, const CopyWaits* waits = nullptr);
std::string wanted_to_json(const WantedRows& wanted);
// Throw Error(protocol) on anything else.
Progress progress_from_json(const std::string& text, std::uint64_t* rows, std::uint64_t* conflicts);
Hello hello_from_json(const std::string& text);
// `error` and `text` of an error answer; empty strings if it is none of ours (a proxy's page, say).
void error_from_json(const std::string& body, std::string* error, std::string* text, Progress* progress,
                     WantedRows* wanted = nullptr, CopyWaits* waits = nullptr);
WantedRows wanted_from_json(const std::string& text);  // on anything else: all rows

// Why a table of ours does not fit theirs, as a sentence; empty: it fits.
std::string table_misfit(const Table& ours, const Hello& theirs);

}  // namespace rowmesh
