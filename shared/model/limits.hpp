// Every bound has a name, a unit and this home. What happens at the bound is said beside it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace rowmesh::limits {

inline constexpr std::size_t body_memory_bytes = 32u << 20;       // a longer body goes to an unlinked file
inline constexpr std::uint64_t body_bytes = 8ULL << 30;           // a longer body is refused with 413
inline constexpr std::uint64_t decompressed_bytes = 32ULL << 30;  // a document that unpacks to more is refused
inline constexpr std::size_t line_bytes = 1100u << 20;            // a line (one row) longer than this is refused
inline constexpr std::size_t header_line_bytes = 4u << 20;        // header, table and trailer lines
inline constexpr std::size_t meanings_bytes = 1u << 20;      // of DocumentHeader::meant; what is beyond is left out
inline constexpr std::size_t control_body_bytes = 4u << 20;  // answers, hello: anything that is not a document
inline constexpr std::size_t columns = 2000;  // of one table; PostgreSQL has 1600, SQLite 2000 by default
inline constexpr std::size_t json_depth = 16;
inline constexpr std::size_t nonces = 65536;  // remembered against replay; the oldest go first
inline constexpr std::uint64_t signature_window_ms = 5 * 60 * 1000;
inline constexpr std::uint64_t clock_ahead_ms = 60 * 1000;  // a document from further ahead is refused
inline constexpr std::uint64_t own_clock_ahead_ms =
    30 * 1000;  // further ahead than this of a peer, a node stops itself (H13)
inline constexpr std::uint64_t promised_ahead_ms = 2 * 1000;    // how far Core::promise() looks ahead: two heartbeats
inline constexpr std::size_t omitted_value_bytes = 1024;        // settled values above it are left out of puts
inline constexpr std::size_t batch_rows = 1000;                 // rows looked up and written together by the applier
inline constexpr std::size_t copy_rows = 5000;                  // rows in one document of a copy
inline constexpr std::size_t copy_bytes = 4u << 20;             // bytes in one document of a copy, about
inline constexpr std::size_t history_chunk_bytes = 512u << 10;  // one record of the history
inline constexpr std::size_t listed_differences = 1000;         // rows that verify lists; more are only counted
inline constexpr std::size_t side_rows = 100000;  // quarantined and hidden rows; beyond it documents are refused
inline constexpr std::size_t wanted_rows = 1000;  // rows that a document must have whole; with more, all are
inline constexpr std::size_t copies = 64;         // that servers may ask for at once; more are answered with 503
inline constexpr std::size_t copy_waits = 256;    // numbers in what is said of a ring of copies; a longer one stands
// Positions whose record could not be written yet: with more, the log is not read on for shipping.
inline constexpr std::size_t unwritten_positions = 100;
inline constexpr std::size_t inline_apply_bytes = 256u
                                                  << 10;  // a longer document is applied in slices beside the listener
inline constexpr std::uint64_t apply_slice_ms = 10;       // then the loop runs once

}  // namespace rowmesh::limits
