// What this node knows of one of its servers while it runs. States are drawn in shared/sync/README.md.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "shared/codec/document.hpp"
#include "shared/sync/meters.hpp"
#include "shared/sync/node_state.hpp"
#include "shared/sync/store.hpp"
#include "shared/sync/wanted_rows.hpp"

namespace rowmesh {

// What a database has of rows that whoever meets it does not get as changes: none, since it has no rows or since all
// that it has were captured and are not forgotten, or some: it has rows of before, or exchanges rows with others.
enum class Base : std::uint8_t { empty, captured, filled };

struct Peer {
  ServerConfig config;
  Position start;           // own position when it was added
  bool had_others = false;  // others were members then: changes were kept that this one may lack
  bool met = false;         // a hello was answered since we started, or since it last failed
  bool in_flight = false;
  bool busy = false;  // it is applying a long document of ours: ask again rather than send
  std::uint64_t retry_at_ms = 0;
  std::uint32_t failures = 0;
  std::uint32_t refused = 0;      // documents that it refused since it last took one; a hello between them is none
  bool knocked = false;           // in vain: it was not there, or did not know us
  std::string blocked;            // a sentence: what a person must mend
  bool needs_copy = false;        // our log does not reach back to it any more
  bool needs_copy_there = false;  // its log does not reach back to us
  bool told_to_copy = false;      // it was so, and no copy has been taken in since
  bool not_kept = false;          // never met, and changes are kept for it no longer
  std::optional<Base> base;       // as it last said (Hello::base)
  std::uint32_t first_copies_failed = 0;  // copies of all that it has which ended early: another server is asked first
  bool has_lost = false;                  // it has changes of ours that this database made in a life that it lost
  bool returning = false;                 // it takes a copy itself before it gives anything
  bool twin = false;                      // it says that somebody else comes to it under our identity
  Hlc own_checked = 0;                    // the newest version of ours there, as it was last found here
  std::deque<std::uint64_t> instances;    // runs of its worker that greeted us lately
  std::uint64_t instance = 0;             // the last of them
  std::uint64_t instance_there = 0;       // its run, when it last answered our greeting
  std::uint64_t questions = 0;            // for changes, that we have put to it
  std::uint64_t asked_by = 0, asked_count = 0;  // its last one: of which run, and which
  std::uint32_t returns = 0;  // how often one spoke again after another had spoken: two that run at once do so for ever
  std::uint64_t returned_ms = 0;
  std::string last_error;
  std::string copy_error_there;  // why the last copy that it took ended early, as it tells
  std::string checked;           // what the last copy, verify or repair came to
  std::uint64_t asked_ms = 0;    // when the request in flight was sent
  std::uint64_t last_success_ms = 0, last_hello_ms = 0, last_received_ms = 0;
  std::uint64_t rows_sent = 0, rows_received = 0, conflicts = 0;
  std::uint64_t paced_until_ms = 0;  // rate_limit: no document before
  std::uint64_t heard_ms = 0;        // last heard of, or first looked at
  bool given_up = false;             // silent for longer than its retention
  bool sign_with_old = false;        // it refused our new secret: it has not been given it yet
  bool knows_new_secret = false;     // so the old one can go
  std::uint64_t new_secret_tried_ms = 0;
  ServerMeters meters;
  std::uint64_t generation = 0;  // answers to requests of an older one are not listened to

  // from its last hello or answer
  std::set<std::string> tables;                // wire names that it replicates
  std::set<std::string> not_given;             // those of them that it does not exchange with us
  std::set<std::string> left_out;              // tables of ours that it does not
  std::map<std::string, std::string> misfits;  // tables of ours, with why they do not fit there; '': they fit
  std::int64_t clock_ahead_ms = 0;             // its clock before ours
  bool tables_asked = false;                   // was greeted because changes of such a table are to be withheld
  std::set<Origin> direct;                     // origins that it gets from themselves
  bool accepts_unknown = true;
  // Progress::received, and our G when that was asked for. None: it did not say.
  std::optional<std::map<Origin, Hlc>> received;
  Hlc received_as_of = 0;
  Hlc asked_at = 0;  // our G when the request in flight was sent
  // The newest version that it has of this origin of ours, when it last greeted us or answered our greeting.
  std::optional<Version> has_of_ours;
  bool untold = false;  // a document was sent since, and no answer or new question says whether it was taken
  struct Handed {       // the last document that was made for a question: our own position and newest version
    PositionNumber number = 0;
    Version newest;
  } handed;
  Hlc sent_hlc = 0;              // of the last document
  Version copied;                // the newest version of ours that pieces of a copy may have brought it, of this origin
  bool waits_for_clock = false;  // asked for a piece, and got none since our clock is ahead
  std::map<std::string, ParkedTable> parked;  // tables whose changes wait there
  std::uint64_t parked_told_ms = 0;           // when it said so
  // The shape of a table of ours that does not fit there, when it was last sent. It is sent again after a while all the
  // same: what was sent may not have been taken for another reason.
  struct Tried {
    std::string shape;
    std::uint64_t at_ms = 0;
  };
  std::map<std::string, Tried> tried;
  WantedRows wanted;        // what its next document must have whole
  WantedRows wanted_of_it;  // what we ask of its next document
  bool zstd = false;
  bool ask = false;  // it has no URL for us: we ask it for its changes

  // the request with which we ask it
  bool asking = false;          // it is under way
  bool ask_stale = false;       // its last document was refused as stale: it must announce where it stands
  std::uint64_t ask_at_ms = 0;  // not before
  std::uint32_t ask_failures = 0;
  bool long_answers = false;  // the last one it gave took long, or may have

  // the request with which it asks us, when we have no URL for it
  bool asked_for_changes = false;
  bool ask_again = false;  // and is to say once more where it stands, before anybody says that it needs a copy
  std::uint64_t asked_since_ms = 0;
  std::shared_ptr<Body> ready;  // the document that it gets
  bool ready_compressed = false;

  const std::string& secret() const {
    return sign_with_old && !config.old_secret.empty() ? config.old_secret : config.secret;
  }
  bool reachable() const { return !config.url.empty(); }
  // On this machine: what is saved on the way would be paid twice by the same processors.
  bool is_here() const {
    std::string_view host = config.url;
    if (std::size_t scheme = host.find("://"); scheme != host.npos) host.remove_prefix(scheme + 3);
    host = host.substr(0, host.find('/'));
    return host.starts_with("127.") || host.starts_with("[::1]") || host == "localhost" ||
           host.starts_with("localhost:");
  }
  bool may_ship() const { return config.enabled && config.direction != Direction::pull; }
  bool ships() const { return may_ship() && reachable(); }
  bool takes() const { return config.enabled && config.direction != Direction::push; }
  bool gives(const std::string& table) const { return tables.contains(table) && !not_given.contains(table); }
  // To send it changes, or to ask it for its own.
  bool greets() const { return config.enabled && reachable(); }
};

// 250 ms, doubling to 30 s, each time somewhere between half and the whole of it, so that peers do not come back in
// step.
std::uint64_t backoff_ms(std::uint32_t failures, std::uint64_t random);

}  // namespace rowmesh
