// The inside of Node: node.cpp (life, tick, status), shipping.cpp (what goes out), receiving.cpp (what comes in),
// pulling.cpp (for servers that nobody can reach), identity.cpp (is this who it was?), requests.cpp (what people asked
// for by SQL), restoring.cpp, copying*.cpp (each says what of it).
#pragma once
#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "shared/http/auth.hpp"
#include "shared/sync/applier.hpp"
#include "shared/sync/document_maker.hpp"
#include "shared/sync/hello.hpp"

namespace rowmesh {

CopyMode copy_mode_of(const std::string& name);  // as on_existing names it

class Node::Impl {
 public:
  explicit Impl(const NodeServices& services) : core(services) {}

  void start();
  bool heeds_commits();
  std::uint64_t tick();
  void remember();
  HttpResponse check(const HttpRequest& head, std::uint64_t& body_limit);
  HttpResponse handle(const HttpRequest& request);
  HttpResponse later(const HttpRequest& request);
  NodeStatus status();
  std::vector<ServerDetail> details() const;
  Held held() const;
  bool signed_by_server(const HttpRequest& head);
  bool force = false;
  bool in_store = false;  // a transaction is open: requests are answered from memory
  Core core;

 private:
  // node.cpp
  void reload_if_changed();
  std::map<std::string, std::string> shapes_of_parked();
  void sync_peers(const std::vector<ServerConfig>& servers);
  void take_answers();
  void after_clock_went_back();
  void forget_old_secrets();
  void give_up_silent();
  void guarded(const char* doing, const std::function<void()>& work);
  bool heartbeat_due();
  std::string state_of(const Peer& peer, std::uint64_t queued);

  // shipping.cpp
  std::string servers_in_query();
  std::set<Origin> former();  // incarnations of this node
  void note_former(const std::string& node, const std::set<Origin>& former);
  void greet(Peer& peer);
  void greet_only();
  std::string told_in_greeting(const Peer& peer);
  PositionNumber judged_as_of(const Peer& peer);  // where it was when we judged whether it needs a copy
  void take_hello(Peer& peer, const Hello& hello);
  void ship();
  void leave_out_by_setting(Peer& peer);
  Position start_of(const Peer& peer);
  bool wants_anything(const Peer& peer, DocumentOrder& order);
  std::uint64_t timeout_of(const Peer& peer, std::uint64_t body_bytes);
  void pace(Peer& peer, std::uint64_t rows, std::uint64_t bytes);
  bool may_ship_now(const Peer& peer);  // as far as its options go
  bool may_ask(const Peer& peer);
  bool hello_due(const Peer& peer);
  bool waits_for_changes(const Peer& peer);
  bool can_catch_up(const Peer& peer, const std::string& name, const ParkedTable& parked);
  void send_document(Peer& peer, const MadeDocument& made);
  void take_progress(Peer& peer, const Progress& progress);
  void observe_lag(Peer& peer, const Progress& progress);
  void failed(Peer& peer, const HttpResponse& response);
  void send(Peer& peer, HttpRequest request, std::uint64_t timeout_ms, std::function<void(Peer&, HttpResponse)> done);
  // `answer`: what is to be done with it.
  struct Answer;
  void post(Peer& peer, HttpRequest request, std::uint64_t timeout_ms, std::uint64_t answer_bytes, Answer answer);
  void met(const std::string& node, const std::string& name, Origin origin, bool takes,
           const std::optional<std::set<Origin>>& servers = {});
  Hlc horizon_limit();
  enum class Reach : std::uint8_t { yes, no, to_be_asked };
  Reach reaches(const Peer& peer, Origin origin);
  void take_received(Peer& peer, const Progress& progress);
  bool once_heard(const Peer& peer, Origin origin);
  KnownServer& known(const Peer& peer) { return core.state.servers[peer.config.id]; }

  // pulling.cpp
  void ask_for_changes();
  void ask(Peer& peer);
  void take_asked(Peer& peer, const HttpResponse& response);
  void refuse_asked(Peer& peer, const Refusal& refusal);
  bool takes_question(const Progress& told, Peer& peer);
  HttpResponse answer_asked(const HttpRequest& request, Peer& peer);
  void note_taken(Peer& peer, const Progress& told);

  // receiving.cpp
  Peer* peer_of(const HttpRequest& head);
  Peer* introduce(const HttpRequest& head, const std::string& node, AuthResult& result);
  void becomes(Peer& peer, Origin origin);
  HttpResponse answer_hello(const HttpRequest& request, Peer* peer);
  HttpResponse answer_changes(const HttpRequest& request, Peer& peer);
  HttpResponse apply_inline(Peer& peer, std::shared_ptr<const Body> body, bool compressed);
  HttpResponse apply_now(Peer& peer, std::shared_ptr<const Body> body, bool compressed,
                         const std::function<void()>& breathe);
  void apply_queued();
  Progress progress();
  AuthResult authenticate(const HttpRequest& head, Peer& peer);
  HttpResponse refuse(RefusedFor why, int status, const std::string& error, const std::string& text);

  // retention.cpp
  void read_retention();
  void expire_members();
  void owe_announcement();
  void judge_members();
  void note_what_the_gone_left();
  void decide_what_is_kept();
  bool given_up_by_others();
  bool expired(const Peer& peer);

  // identity.cpp
  std::string identity_trouble();  // '', 'copied' or 'restored'
  std::string stopped();           // why this node stands still, as a sentence; '': it does not
  void met_other_history(Hlc newest);
  void judge_identity(Peer& peer, const Hello& hello);
  void judge_clock(const Progress& progress);
  Hlc perhaps_taken();
  void judge_clock_unasked();
  bool told_what_it_has(const Peer& peer) const;
  void note_removed(const KnownServer& server, const Peer* peer);
  Origin next_origin();
  Hlc promised();
  void new_identity(const Request& request);
  bool hears_twins(Peer& peer, std::uint64_t instance);
  void hand_on_again();
  bool knew(const Peer& peer);
  std::vector<Peer*> sources_to_come_back();
  bool awaits_greeting();
  void come_back();
  bool cannot_come_back(const Peer& peer);

  // requests.cpp
  void carry_out_requests();
  void restore(const Request& request);
  // `with`: what `work` makes of it is written with the rest and becomes the window's.
  void in_transaction(const std::function<void()>& work, Batch* with = nullptr);
  EntrySet quarantined(std::int64_t number);  // number: of the list, 0: all
  void reconcile();

  // copying.cpp
  struct Copy {
    std::int64_t request = 0;  // 0: the other side asked for it
    std::int64_t peer = 0;
    bool pull = true;
    CopyMode mode = CopyMode::fail;
    bool adopt = false;
    bool met_in_lost_life = false;
    std::vector<std::string> tables;  // wire names still to come, the current one first
    std::vector<std::string> tables_done;
    std::optional<NodeState::AskedCopy> asked;  // another server asked for it
    std::size_t tables_in_all = 0;
    Key after;
    CopySession session;
    Vector start;      // where the source stood at the first piece
    Vector forgotten;  // and up to where its log was gone
    std::map<Origin, OriginMeta> start_metas;
    std::map<std::string, Vector> start_parked;  // what it waited for itself then
    std::set<std::string> start_given_up;        // and what it will get by a copy only
    Version start_horizon;                       // the source's G then
    Hlc newest = 0;                              // no change that was not settled there then is newer
    bool first = false;                          // a new node takes it by itself
    bool begun_elsewhere = false;                // a new node has pieces of another server's already
    bool everything = false;                     // all tables that both replicate
    std::string given_up;                        // the table that it is for, if its changes will not come any more
    std::uint64_t rows = 0;
    bool begun = false;
    bool read = false;       // all rows of the current table have come
    Vector reached;          // where the source stood then
    Hlc source_horizon = 0;  // its G then
    Differences found;       // of the tables that are done
    int readings = 0;        // of the current table
    int garbled = 0;         // answers in a row that are no piece of it
    std::uint64_t pause_until_ms = 0;
    std::uint64_t number = 0;  // random; 0: not asked for yet (copying_rings.cpp)

    bool is_whole() const { return everything && pull && !checks(); }
    bool checks() const { return mode == CopyMode::verify || mode == CopyMode::repair; }
  };
  bool taking_copy() const {
    if (!copies.empty() && copies.front().read) return false;
    return std::any_of(copies.begin(), copies.end(), [](const Copy& copy) { return copy.pull && !copy.checks(); });
  }
  bool comes_back_with(const Copy& copy) const { return core.state.returning && copy.pull && copy.adopt; }
  bool keeps_to_itself();
  void begin_copy(const Request& request);
  void add_copy(std::int64_t request, Peer& peer, bool pull, const std::string& table, CopyMode mode);
  bool covers_all(const std::vector<std::string>& tables, const Peer& peer);
  void go_on_copying();
  void stand_still_while_copying(bool begins = false);
  void take_copied(Peer& peer, HttpResponse response);
  void guard_copy(Copy& copy, Peer& peer, const std::function<void()>& step);
  bool lacks_what_source_had(const Copy& copy) const;
  void end_copied_table(Copy& copy);
  void judge_extra_rows(Copy& copy, const Table& table);
  bool put_off(Copy& copy, Peer& peer, const Refusal& refusal);
  bool garbled(Copy& copy, Peer& peer, const Error& error);
  void end_table(Copy& copy);
  void remove_here(const Table& table, std::vector<Key> extra);
  void ship_anew(const Table& table, const std::vector<Key>& extra);
  void end_copy(const std::string& failure);
  void tell_end_of_copy(const Copy& copy, const std::string& failure);
  // joining.cpp
  Base look_for_base();
  Base base_of_rows();
  bool may_give_first_copy(const Peer& peer);
  bool is_new();
  void join_others();
  std::optional<Base> told_base();
  void note_rows_of_before(const Peer& peer);
  bool awaits_first_copy(const Peer& peer);
  bool source_is_new_itself(const Copy& copy, Peer& peer, const HttpResponse& response);
  Copy* first_copy_from(std::int64_t server, CopyMode wanted);
  // copying_rings.cpp
  std::uint64_t waits_as(bool numbers);
  CopyWaits copy_waits();
  bool gives_none(const HttpRequest& request, const Peer& asker);
  HttpResponse refuse_piece(const std::string& text);
  bool source_refused(Peer& peer, const HttpResponse& response);
  void let_others_go_first();
  bool waits_for_itself(const Copy& copy);
  // copying_answers.cpp
  void take_up_asked_copies();
  // copying_checks.cpp
  bool end_check(Copy& copy);
  ConflictRow only_here(const Table& table, KeyView key, RowView row, CopyMode mode);
  // copying_settled.cpp
  void give_anew_what_nobody_has(const Copy& copy, const DocumentHeader& header);
  void settle_as_source(const Copy& copy, const DocumentHeader& header);
  bool confirmed_by_our_members(const DocumentHeader& header) const;
  void keep_what_others_lack(Hlc horizon, bool confirmed, Batch& kept);
  void give_up_old_changes(Hlc horizon, Peer& peer);
  void forget_truncates(Hlc horizon);
  void settle_for_who_is_awaited(Hlc horizon);
  void came_with(const Copy& copy);
  std::vector<const Entry*> foreign_entries();
  void counts_as_reached(const Copy& copy, Batch& copied);
  void park_as_source(const Copy& copy);
  void hand_on_copied(Batch& batch, const Table* only = nullptr, Hlc settled_there = ~Hlc{0});

  // waiting_tables.cpp
  std::uint64_t kept_ms() const;
  void give_up_tables();
  bool waits_for_the_gone(const ParkedTable& table) const;
  void write_off_the_gone();
  void copy_given_up_tables();
  bool others_have(const std::string& table);
  Peer* source_of(const std::string& table);
  bool has_all_of_ours(const DocumentHeader& source) const;
  void end_copy_of_given_up(const Copy& copy, const std::string& failure);
  void takes_changes_again(const Copy& copy, Batch& batch);

  HttpResponse answer_rows(const HttpRequest& request, Peer& peer);
  bool would_be_refused(const HttpRequest& request, Peer& peer);
  HttpResponse answer_copy(const HttpRequest& request, Peer& peer);

  std::map<std::string, std::uint64_t> waits_for_gone_since_ms;  // tables
  std::uint64_t copy_tables_at_ms = 0;                           // those that were given up
  std::map<std::int64_t, Peer> peers;
  std::uint64_t config_generation = ~std::uint64_t{0};
  bool enabled = true;
  std::map<std::string, std::string> blocked;  // steps of tick() that failed for good when they were last done: why
  std::string misplaced;                       // Store::place_trouble
  std::uint64_t instance = 0;                  // of this run, random
  ReplayGuard replay_guard;

  struct Answer {
    std::int64_t peer = 0;
    std::uint64_t generation = 0;
    HttpResponse response = {};
    std::function<void(Peer&, HttpResponse)> done;
    bool asked = false;  // to the request that waits for changes: the others do not wait for it
  };
  // Shared with the callbacks of requests under way, which may outlive the node.
  std::shared_ptr<std::deque<Answer>> answers = std::make_shared<std::deque<Answer>>();

  struct Queued {
    std::shared_ptr<const Body> body;
    bool compressed;
  };
  std::map<std::int64_t, Queued> queued;     // long documents, at most one a server
  std::map<std::int64_t, Refusal> refusals;  // of such documents: told when the sender comes again
  std::deque<Copy> copies;                   // one after the other
  std::map<std::int64_t, CopyWaits>
      refused_by;                    // servers that take a copy themselves: what they said to the last piece
  std::uint64_t copies_refused = 0;  // CopyWaits::Said::count
  PositionNumber copied_at = 0;      // ours when the last copy was taken in: who judged before that whether we need one
                                     // does not know of it
  std::int64_t applying = 0;         // the server whose long document is being applied
  std::map<std::string, std::uint64_t> troubles_logged_ms;
  std::uint64_t next_flush_ms = 0, next_status_ms = 0, next_requests_ms = 0, next_retry_ms = 0, last_heartbeat_ms = 0,
                forced_cuts = 0;
  std::uint64_t next_wake_ms = 0, last_tick_ms = 0, next_expiry_ms = 0, awake_since_ms = 0, started_ms = 0;
  std::uint64_t retention_ms = 0, retention_rows = 0;
  std::optional<Base> base;  // as last looked at
  std::uint64_t look_for_base_at_ms = 0;
  bool awaits_servers = false;
  std::uint64_t come_back_at_ms = 0;            // not before: the last copy failed
  std::optional<std::set<Origin>> met_servers;  // when members were last judged
  std::set<Origin> away;                        // members that hold nothing back, as last looked at
};

}  // namespace rowmesh
