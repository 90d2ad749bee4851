#include "sqlite_ext/index_text.hpp"

#include <cctype>

namespace rowmesh::sqlite {
namespace {

struct Token {
  std::size_t begin, end;
};

// Enough of SQLite's lexer to know where strings, quoted names and comments end.
std::size_t token_end(const std::string& sql, std::size_t at) {
  char first = sql[at];
  if (first == '\'' || first == '"' || first == '`') {
    for (std::size_t i = at + 1; i < sql.size(); i++) {
      if (sql[i] != first) continue;
      if (i + 1 < sql.size() && sql[i + 1] == first) {
        i++;
        continue;
      }
      return i + 1;
    }
    return sql.size();
  }
  if (first == '[') {
    std::size_t close = sql.find(']', at);
    return close == std::string::npos ? sql.size() : close + 1;
  }
  auto word = [](char letter) {
    return std::isalnum(static_cast<unsigned char>(letter)) || letter == '_' || letter < 0;
  };
  if (!word(first)) return at + 1;
  std::size_t end = at;
  while (end < sql.size() && word(sql[end])) end++;
  return end;
}

std::size_t skip_blank(const std::string& sql, std::size_t at) {
  for (;;) {
    while (at < sql.size() && std::isspace(static_cast<unsigned char>(sql[at]))) at++;
    if (sql.compare(at, 2, "--") == 0) {
      std::size_t line = sql.find('\n', at);
      at = line == std::string::npos ? sql.size() : line + 1;
    } else if (sql.compare(at, 2, "/*") == 0) {
      std::size_t close = sql.find("*/", at + 2);
      at = close == std::string::npos ? sql.size() : close + 2;
    } else {
      return at;
    }
  }
}

std::vector<Token> tokens_of(const std::string& sql) {
  std::vector<Token> tokens;
  for (std::size_t at = skip_blank(sql, 0); at < sql.size(); at = skip_blank(sql, at)) {
    std::size_t end = token_end(sql, at);
    tokens.push_back({at, end});
    at = end;
  }
  return tokens;
}

class Parser {
 public:
  explicit Parser(const std::string& sql) : sql_(sql), tokens_(tokens_of(sql)) {}

  std::optional<IndexText> parse() {
    std::size_t on = 0;
    while (on < tokens_.size() && !is(on, "ON")) on++;
    std::size_t open = on + 2;
    if (open >= tokens_.size() || !is(open, "(")) return std::nullopt;
    // A name with its table before it would not mean the new row in a trigger.
    for (std::size_t dot = on + 3; dot < tokens_.size(); dot++)
      if (is(dot, ".") && !std::isdigit(static_cast<unsigned char>(sql_[tokens_[dot - 1].begin]))) return std::nullopt;
    IndexText text;
    std::size_t depth = 1, begin = open + 1, at = begin;
    for (; at < tokens_.size() && depth > 0; at++) {
      if (is(at, "(")) depth++;
      if (is(at, ")")) depth--;
      if ((depth == 1 && is(at, ",")) || depth == 0) {
        text.terms.push_back(term(begin, at));
        begin = at + 1;
      }
    }
    if (depth != 0) return std::nullopt;
    if (at < tokens_.size()) {
      if (!is(at, "WHERE") || at + 1 >= tokens_.size()) return std::nullopt;
      text.condition = sql_.substr(tokens_[at + 1].begin);
    }
    return text;
  }

 private:
  bool is(std::size_t at, const char* word) const {
    const Token& token = tokens_[at];
    std::size_t i = 0;
    for (; word[i]; i++)
      if (token.begin + i >= token.end || std::toupper(static_cast<unsigned char>(sql_[token.begin + i])) != word[i])
        return false;
    return token.begin + i == token.end;
  }

  // The collation is the index's own and comes from index_xinfo; the order does not matter here.
  std::string term(std::size_t begin, std::size_t end) const {
    if (end > begin && (is(end - 1, "ASC") || is(end - 1, "DESC"))) end--;
    if (end > begin + 1 && is(end - 2, "COLLATE")) end -= 2;
    if (end <= begin) return "";
    return sql_.substr(tokens_[begin].begin, tokens_[end - 1].end - tokens_[begin].begin);
  }

  const std::string& sql_;
  std::vector<Token> tokens_;
};

}  // namespace

std::optional<IndexText> parse_index(const std::string& sql) { return Parser(sql).parse(); }

}  // namespace rowmesh::sqlite
