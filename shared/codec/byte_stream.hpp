// Bytes of a document on their way into and out of a Body, compressed with zstd or not. Never the whole document in
// memory.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "shared/http/body.hpp"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace rowmesh {

class ByteSink {
 public:
  explicit ByteSink(bool compress);
  ~ByteSink();
  void write(std::string_view bytes);
  std::shared_ptr<Body> finish();

 private:
  void compress(std::string_view bytes, bool end);

  std::shared_ptr<Body> body_ = std::make_shared<Body>();
  ZSTD_CCtx_s* zstd_ = nullptr;
  std::unique_ptr<char[]> out_;
};

// Throws Error(protocol) for what is not one whole zstd frame, or unpacks to more than limits::decompressed_bytes.
class ByteSource {
 public:
  ByteSource(std::shared_ptr<const Body> body, bool compressed);
  ~ByteSource();
  // Fills up to `room` bytes; 0: end.
  std::size_t read(char* out, std::size_t room);

 private:
  std::size_t decompress(char* out, std::size_t room);

  std::shared_ptr<const Body> body_;
  std::uint64_t offset_ = 0;  // in body_
  std::uint64_t produced_ = 0;
  ZSTD_DCtx_s* zstd_ = nullptr;
  std::unique_ptr<char[]> in_;
  std::size_t in_size_ = 0, in_used_ = 0;
  bool frame_ended_ = false;
};

// Lines without their '\n'. A view lives until the next call.
class LineSource {
 public:
  LineSource(std::shared_ptr<const Body> body, bool compressed) : bytes_(std::move(body), compressed) {}
  // False at the end. At least `padding` readable bytes follow each line: simdjson reads ahead.
  bool next(std::string_view& line);
  std::uint64_t offset() const { return dropped_ + begin_; }  // of the next line, in the unpacked document
  // Gives the bytes of all lines up to, but without, the last one returned, each once.
  template <typename Use>
  void take_before_last(Use use) {
    use(std::string_view(buffer_.get() + taken_, last_ - taken_));
    taken_ = last_;
  }
  // The same, called when the buffer moves on, so that nothing is lost.
  void on_move(void (*use)(void*, std::string_view), void* context) { use_ = use, context_ = context; }

  static constexpr std::size_t padding = 64;

 private:
  bool fill();
  void grow(std::size_t capacity);

  ByteSource bytes_;
  std::unique_ptr<char[]> buffer_;
  std::size_t capacity_ = 0, begin_ = 0, end_ = 0, searched_ = 0, last_ = 0, taken_ = 0;
  std::uint64_t dropped_ = 0;
  void (*use_)(void*, std::string_view) = nullptr;
  void* context_ = nullptr;
};

}  // namespace rowmesh
