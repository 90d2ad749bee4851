#include "shared/codec/byte_stream.hpp"

#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "shared/model/error.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {
namespace {

constexpr std::size_t chunk_bytes = 256 << 10;
constexpr int compression_level = 1;  // 3 was slower and not smaller on row lines
constexpr int window_log_max = 23;    // 8 MB; level 1 needs 512 KB

[[noreturn]] void refuse(const std::string& code, const std::string& text) {
  throw Error(ErrorKind::protocol, code, text);
}

}  // namespace

ByteSink::ByteSink(bool compress) {
  if (!compress) return;
  out_.reset(new char[chunk_bytes]);
  zstd_ = ZSTD_createCCtx();
  if (!zstd_) throw std::bad_alloc();
  ZSTD_CCtx_setParameter(zstd_, ZSTD_c_compressionLevel, compression_level);
}

ByteSink::~ByteSink() { ZSTD_freeCCtx(zstd_); }

void ByteSink::write(std::string_view bytes) {
  if (zstd_) {
    compress(bytes, false);
  } else {
    body_->append(bytes);
  }
}

void ByteSink::compress(std::string_view bytes, bool end) {
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  for (;;) {
    ZSTD_outBuffer out{out_.get(), chunk_bytes, 0};
    std::size_t left = ZSTD_compressStream2(zstd_, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left)) throw Error(ErrorKind::transient, "zstd", std::string("zstd: ") + ZSTD_getErrorName(left));
    body_->append({out_.get(), out.pos});
    if (end ? left == 0 : in.pos == in.size) return;
  }
}

std::shared_ptr<Body> ByteSink::finish() {
  if (zstd_) compress({}, true);
  return std::move(body_);
}

ByteSource::ByteSource(std::shared_ptr<const Body> body, bool compressed) : body_(std::move(body)) {
  if (!compressed) return;
  in_.reset(new char[chunk_bytes]);
  zstd_ = ZSTD_createDCtx();
  if (!zstd_) throw std::bad_alloc();
  ZSTD_DCtx_setParameter(zstd_, ZSTD_d_windowLogMax, window_log_max);
}

ByteSource::~ByteSource() { ZSTD_freeDCtx(zstd_); }

std::size_t ByteSource::read(char* out, std::size_t room) {
  std::size_t got = zstd_ ? decompress(out, room) : body_->read(offset_, out, room);
  if (!zstd_) offset_ += got;
  produced_ += got;
  if (produced_ > limits::decompressed_bytes)
    refuse("too_long", "the document unpacks to more than " + std::to_string(limits::decompressed_bytes >> 30) + " GB");
  return got;
}

std::size_t ByteSource::decompress(char* out, std::size_t room) {
  ZSTD_outBuffer target{out, room, 0};
  while (target.pos == 0) {
    if (in_used_ == in_size_) {
      in_size_ = body_->read(offset_, in_.get(), chunk_bytes);
      in_used_ = 0;
      offset_ += in_size_;
    }
    if (frame_ended_) {
      if (in_used_ < in_size_) refuse("bad_zstd", "bytes follow the end of the compressed document");
      return 0;
    }
    bool no_more_input = in_size_ == 0;
    ZSTD_inBuffer source{in_.get(), in_size_, in_used_};
    std::size_t left = ZSTD_decompressStream(zstd_, &target, &source);
    if (ZSTD_isError(left))
      refuse("bad_zstd", std::string("the compressed document is damaged: ") + ZSTD_getErrorName(left));
    in_used_ = source.pos;
    frame_ended_ = left == 0;
    if (no_more_input && target.pos == 0 && !frame_ended_)
      refuse("truncated", "the compressed document ends too early");
  }
  return target.pos;
}

bool LineSource::next(std::string_view& line) {
  for (;;) {
    const void* found = searched_ < end_ ? std::memchr(buffer_.get() + searched_, '\n', end_ - searched_) : nullptr;
    if (found) {
      std::size_t at = static_cast<std::size_t>(static_cast<const char*>(found) - buffer_.get());
      line = {buffer_.get() + begin_, at - begin_};
      last_ = begin_;
      begin_ = searched_ = at + 1;
      return true;
    }
    searched_ = end_;
    if (fill()) continue;
    if (begin_ < end_) refuse("truncated", "the document ends in the middle of a line");
    return false;
  }
}

// What is not yet a whole line moves to the front and more is read behind it.
bool LineSource::fill() {
  if (use_ && begin_ > taken_) use_(context_, {buffer_.get() + taken_, begin_ - taken_});
  std::size_t kept = end_ - begin_;
  // Only a row, "[0,...", may be as long as a value can be: else a few packed kilobytes could take gigabytes of memory
  // before anybody looks.
  const char* begun = buffer_.get() + begin_;
  bool row = dropped_ + begin_ > 0 && kept > 1 && begun[0] == '[' && begun[1] >= '0' && begun[1] <= '9';
  std::size_t most = row ? limits::line_bytes : limits::header_line_bytes;
  if (kept > most) refuse("too_long", "a line of the document is longer than " + std::to_string(most >> 20) + " MB");
  if (kept > 0 && begin_ > 0) std::memmove(buffer_.get(), buffer_.get() + begin_, kept);
  dropped_ += begin_;
  searched_ -= begin_;
  begin_ = last_ = taken_ = 0;
  end_ = kept;
  if (capacity_ - kept < chunk_bytes) grow(std::max(2 * kept, 2 * chunk_bytes));
  std::size_t got = bytes_.read(buffer_.get() + end_, capacity_ - end_);
  end_ += got;
  return got > 0;
}

void LineSource::grow(std::size_t capacity) {
  std::unique_ptr<char[]> larger(new char[capacity + padding]);
  if (end_ > 0) std::memcpy(larger.get(), buffer_.get(), end_);
  std::memset(larger.get() + capacity, 0, padding);
  buffer_ = std::move(larger);
  capacity_ = capacity;
}

}  // namespace rowmesh
