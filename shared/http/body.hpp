// The bytes of a request or an answer: in memory up to a bound, beyond it in an unlinked temporary file.
#pragma once
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace rowmesh {

class Body {
 public:
  Body() = default;
  explicit Body(std::string bytes);
  ~Body();
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  // Throws Error(transient, "disk_full") if the temporary file cannot be written.
  void append(std::string_view bytes);
  std::uint64_t size() const { return size_; }
  // Reads up to `room` bytes at `offset` into `out`; returns how many (0: end). Bytes already appended only.
  std::size_t read(std::uint64_t offset, char* out, std::size_t room) const;
  // For small bodies: everything. Throws Error(protocol) if longer than `limit`.
  std::string text(std::uint64_t limit) const;
  // The part that lies in memory in one piece, if all of it does; otherwise empty with size() > 0.
  std::string_view in_memory() const { return file_ ? std::string_view() : std::string_view(memory_); }

  // Where temporary files go; default: $TMPDIR or /tmp. PostgreSQL: its data directory.
  static void set_directory(const std::string& directory);

 private:
  void move_to_file();
  void write_to_file(std::string_view bytes, std::uint64_t offset);

  std::string memory_;
  int file_fd_ = -1;
  bool file_ = false;
  std::uint64_t size_ = 0;
};

}  // namespace rowmesh
