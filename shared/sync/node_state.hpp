// What a node knows of itself and of the others apart from rows. Small; written whole with every history record, so
// that it moves in the same transaction as the rows it speaks of.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>

#include "shared/codec/document.hpp"

namespace rowmesh {

// A server of ours that we have met.
struct KnownServer {
  std::string node;  // UUID
  Origin origin = 0;
  Vector applied;  // what it last said to have applied
  std::set<std::string>
      withheld;  // wire names of tables that it did not replicate when it should have got changes of them
  // Of these it once said so. Symptom: rows were missing on a server whose backup had been put back, and all was well
  // by its status. Mechanism: the backup was of before it had heard anything of us, so it said what a new one says, and
  // got what was still here. Mend: that it had heard of us is known here.
  std::set<Origin> heard = {};
  // Why the last copy with it ended early. Symptom: a copy had ended early, the server was started anew, and by its
  // status all was well. Mechanism: that was in memory alone. Mend: it is noted with the end of the copy.
  std::string copy_error = {};

  void says(const Vector& it_applied);  // sets both
};

// A table whose changes wait: documents that brought some were applied without them, since the table does not fit here,
// or since the server that handed them on could not take them itself. While there is one, this node confirms nothing
// new (its horizon stands), so nobody forgets what it lacks.
struct ParkedTable {
  std::string reason;  // a sentence
  Vector covered;      // its changes are here up to these positions
  bool fits = false;   // again: changes are taken as they come, and what was missed is asked for
  Vector until;        // if it fits: what comes after this is here
  std::uint64_t since_ms = 0;
  bool given_up = false;       // it waited longer than changes are kept: others forget them, and it comes by a copy
  std::map<Origin, Hlc> late;  // MergeContext::late, when it began to wait
};

// Where this database's history ended when it was found.
struct HistoryEnd {
  Position position;
  Hlc watermark = 0;
  Hlc newest = 0;     // of our own versions in it
  Hlc unread = 0;     // and in what any start since read first: it may have been in the log already, or be younger
  bool copy = false;  // it was found elsewhere than where it was made
  Hlc told = 0;       // its newest version, as others were told with its last position (OriginMeta::newest)
};

// Has one gone of the servers that were announced?
bool fewer(const std::optional<std::set<Origin>>& before, const std::optional<std::set<Origin>>& after);

struct NodeState {
  Origin self = 0;
  Hlc hlc = 0;                         // promised: no version up to it is given again, also after a crash
  Vector applied;                      // own newest position included
  std::map<Origin, OriginMeta> metas;  // own included
  std::map<Origin, Member> members;    // own included
  Hlc prune_horizon = 0;               // G
  Hlc lost = 0;  // a change that we made says another server, and that is not here: we are not who we were; 0: none
  // At the first start since a server last knew something of us that was made after a start. Should we turn out to be
  // an older backup, no more than this is in the other history as well.
  std::optional<HistoryEnd> found;
  // The newest of our versions that a server has taken since then: others have it under our origin.
  Hlc confirmed = 0;
  // A server that was removed before it said what it had may have our versions up to this one.
  Hlc removed_has = 0;
  // The newest own version that pieces of copies may have brought somebody, who does not say so.
  Hlc copied_up_to = 0;
  // A new incarnation of a database that was put back or copied: until it has taken a copy from a server that knew it
  // before, it ships nothing and takes no changes. Others may have forgotten what it lacks, and what it wrote.
  bool returning = false;
  // With that: a copy, which may have run as the other one for a while. What it wrote then may be on some servers only.
  bool ran_as_another = false;
  // It was put back to a state from before it knew any of its servers, so there was none to come back from: what it
  // lost and they have forgotten it lacks until it takes a copy.
  bool came_back_without = false;
  // The G of servers that told it of rows when it had not come as far itself (MergeContext::settled_elsewhere).
  Hlc settled_elsewhere = 0;
  // Own versions up to here are of before it came back: one that comes out of the log only now is given anew.
  Hlc rebased = 0;
  // The clock of whom it copied from then: by there the others may have forgotten all of theirs, and that is nobody's
  // wrong time.
  Hlc source_clock = 0;
  // It is no new node any more: it has taken a copy or changes, or something that was written here may have gone out.
  bool joined = false;
  // Copies that other servers asked us to take: each until it is done, for nobody asks again when it has been told that
  // we do. At most limits::copies.
  struct AskedCopy {
    std::int64_t server = 0;
    std::uint64_t mode = 0;           // CopyMode
    std::vector<std::string> tables;  // by their names on the wire
    bool operator==(const AskedCopy&) const = default;
  };
  std::vector<AskedCopy> asked_copies;
  // Of our earlier incarnations: the newest change that a server has and we lost.
  std::map<Origin, Hlc> missing;
  // Servers (KnownServer) that had rows when they were met, as we had: nothing has told what differs. Until a copy,
  // verify or repair.
  std::set<std::int64_t> not_compared;
  // Of these, two histories were heard of under one name (hears_of); kept until another incarnation follows.
  std::set<Origin> two_histories;
  std::map<TableId, Version> truncates;     // T
  std::map<TableId, Hlc> late_truncates;    // of those that came when G was past them: kept until G is here
  std::map<Origin, PositionNumber> pruned;  // per origin: the log up to here is gone
  std::map<std::int64_t, KnownServer> servers;
  std::map<std::string, ParkedTable> parked;  // by wire name
  std::set<Origin> partial;                   // of these, changes come without some of the tables: nothing is handed on

  Version truncated(TableId table) const {
    auto at = truncates.find(table);
    return at == truncates.end() ? Version{} : at->second;
  }
  // Who gets less than everything hands nothing on (model, H8 and H16 j): also of a table that it has, it cannot say
  // that it has all.
  bool hands_on(Origin origin) const { return origin == self || partial.empty(); }
  // Own servers are all met: who is not reached by way of them is reached by nobody. (Not stored.)
  bool all_met = true;
  // Somebody has had a server less since then. Whom another has had for longer shows only when that one has spoken
  // since. (Not stored.)
  Hlc fewer_since = 0;
  OriginMeta& own_meta() { return metas[self]; }
  // Who has been removed: nobody who is a member by the servers that each names, beginning with our own, has it as a
  // server any more. A link that goes takes nobody out who is reached by another way.
  void judge_members();
  std::set<std::int64_t> met_servers() const;
  // H: min of the watermarks received from all members (model 1.5). `own_watermark`: W at this snapshot.
  Hlc horizon(Hlc own_watermark) const;
  // Up to which version all members say that they have what was written here.
  Hlc received_of_us() const;
  // Up to which version this node has told that it has everything of everybody. Below G where somebody was met since.
  Hlc confirmed_here() const;
  // G: min of the horizons that all members reported; never goes back. True if it moved.
  bool advance_prune_horizon();
  // Up to which version all that remain have what members wrote that are gone for good; the highest one if they have
  // all.
  Hlc everybody_has_of_the_gone() const;
  // G is taken over from a server that is copied from.
  void settle_up_to(Hlc horizon);
  // G goes back: what was forgotten above that no other member had.
  void forgotten_alone(Hlc horizon);
  // Up to which version the origin's changes have come. Not as far as G where its owner was not met, or was away, while
  // the others forgot (model, H17).
  Hlc come(Origin origin) const;
  // Of one that another incarnation of its node has followed: G has not gone on since without that one, and not before
  // all that the first one did was here (awaits_what_was_closed). Unless it was past both when they were met.
  bool came_with_another(Origin closed) const;
  // What somebody says of an origin, whether or not it is newer than what is known here: is it of the same history?
  void hears_of(Origin origin, const OriginMeta& meta);
  // While there is one, nothing is confirmed or forgotten: who has all of the one history may lack the other.
  bool hears_two_histories() const;
  // Takes over what a document or hello says of an origin if it is newer. A member that left and goes on writing is
  // back.
  void take_meta(Origin origin, const OriginMeta& meta);
  void take_members(const std::map<Origin, Member>& members, const std::map<Origin, OriginMeta>& metas);
  // Another incarnation of that node followed it: it stays closed, however late what it sent arrives.
  bool closed(Origin origin) const;
  // The incarnation that goes on where this one is closed; else itself.
  Origin follower(Origin origin) const;
  // What a closed origin made is handed on again by whoever has any of it, under positions of its own. Until all
  // members have spoken of the one that followed it, that is not here yet, and nothing more is confirmed.
  bool awaits_what_was_closed() const;
  // A table of which nothing is awaited any more. (What a closed origin wrote comes from others, or is lost.)
  bool caught_up(const ParkedTable& table) const;
  // H14: had the writer of `winner` seen `loser`?
  bool had_seen(Version winner, Version loser) const;

  std::string encode(Hlc promised) const;             // what becomes of `hlc`
  static NodeState decode(const std::string& bytes);  // throws Error(corrupt)
};

}  // namespace rowmesh
