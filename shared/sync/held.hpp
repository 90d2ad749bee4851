// What waits in the memory of a node, or in temporary files, to be sent, applied or written. What bounds each is in
// README.md, "What is held"; the simulator looks after every event whether it holds.
#pragma once
#include <cstddef>
#include <cstdint>

namespace rowmesh {

struct Held {
  std::size_t servers = 0;    // known here
  std::size_t received = 0;   // long documents that wait to be applied
  std::size_t ready = 0;      // documents made for servers that ask for them
  std::size_t answers = 0;    // to requests of ours, not looked at yet
  std::size_t refusals = 0;   // of long documents, until the sender comes again
  std::size_t copies = 0;     // under way and waiting
  std::size_t unwritten = 0;  // positions and changes of the history that are on no disk yet
  std::size_t wanted = 0;     // rows that one document must have whole; the most of any server
  std::size_t parked = 0;     // tables that wait, here or at one server; the most of any
  std::size_t nonces = 0;     // remembered against replay
  std::uint64_t bytes = 0;    // of those documents and answers
};

}  // namespace rowmesh
