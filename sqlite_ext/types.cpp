#include "sqlite_ext/types.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace rowmesh::sqlite {
namespace {

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& letter : result) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
  return result;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string shortest(double number) {
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number).ptr;
  return {buffer, end};
}

// Without an exponent a large number is spelt with all the digits that the double happens to have.
std::string shortest_digits(double number) {
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number, std::chars_format::scientific).ptr;
  return {buffer, end};
}

// A decimal number as sign, digits without zeros at either end, and the power of ten of the first digit: equal exactly
// if the numbers are.
struct Decimal {
  bool negative = false;
  std::string digits;
  long exponent = 0;
  bool operator==(const Decimal&) const = default;
};

// False unless all of `text` is [+-]digits[.digits][e[+-]digits].
bool parse_decimal(std::string_view text, Decimal& number) {
  std::size_t at = 0;
  auto digit = [&] { return at < text.size() && text[at] >= '0' && text[at] <= '9'; };
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) number.negative = text[at++] == '-';
  bool any = false;
  long point = 0;
  for (; digit(); at++, point++) number.digits += text[at], any = true;
  if (at < text.size() && text[at] == '.')
    for (at++; digit(); at++) number.digits += text[at], any = true;
  if (!any) return false;
  long power = 0;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    at++;
    bool minus = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) at++;
    if (!digit()) return false;
    for (; digit(); at++) power = std::min(power * 10 + (text[at] - '0'), 100000L);
    if (minus) power = -power;
  }
  if (at != text.size()) return false;
  std::size_t zeros = std::min(number.digits.find_first_not_of('0'), number.digits.size());
  number.digits.erase(0, zeros);
  number.exponent = point - static_cast<long>(zeros) + power;
  while (!number.digits.empty() && number.digits.back() == '0') number.digits.pop_back();
  if (number.digits.empty()) number = {};
  return true;
}

bool is_number(std::string_view text) {
  Decimal number;
  return parse_decimal(text, number);
}

bool to_integer(std::string_view text, std::int64_t& number) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// strtod and not SQLite's own parser, which is a bit off for one double in a thousand (3.40).
bool to_number(std::string_view text, Value& number) {
  Decimal exact;
  if (!parse_decimal(text, exact)) return false;
  std::int64_t integer = 0;
  if (to_integer(text, integer)) {
    number = Value::of_integer(integer);
    return true;
  }
  double real = std::strtod(std::string(text).c_str(), nullptr);
  Decimal kept;
  if (!std::isfinite(real) || !parse_decimal(shortest_digits(real), kept) || !(kept == exact)) return false;
  number = Value::of_real(real);
  return true;
}

bool integral(double real) {
  return real >= -9223372036854775808.0 && real < 9223372036854775808.0 && real == std::floor(real);
}

bool numeric(Affinity affinity) {
  return affinity == Affinity::integer || affinity == Affinity::real || affinity == Affinity::numeric;
}

StoredValue refuse(std::string reason) { return {Value::of_null(), std::move(reason)}; }

StoredValue store_real(double real, Affinity affinity, Scratch& scratch) {
  if (std::isnan(real)) return refuse("SQLite cannot hold NaN, it would become NULL");
  // As text SQLite would keep 15 digits only.
  if (affinity == Affinity::text) return {Value::of_text(scratch.emplace_back(shortest(real))), ""};
  return {Value::of_real(real), ""};
}

StoredValue store_integer(std::int64_t integer, Affinity affinity, Scratch& scratch) {
  if (affinity == Affinity::text) return {Value::of_text(scratch.emplace_back(std::to_string(integer))), ""};
  if (affinity == Affinity::real) {
    double real = static_cast<double>(integer);
    if (!integral(real) || static_cast<std::int64_t>(real) != integer)
      return refuse("the column has REAL affinity, in which " + std::to_string(integer) + " would lose digits");
    return {Value::of_real(real), ""};
  }
  return {Value::of_integer(integer), ""};
}

// Text that looks like a number, for a column that would make a number of it.
StoredValue store_number_text(std::string_view text, bool bend_spelling, Affinity affinity, Scratch& scratch) {
  Value number;
  if (!to_number(text, number))
    return refuse("the column has numeric affinity, in which SQLite would round " + std::string(text.substr(0, 60)) +
                  "; declare it as TEXT");
  // '007' in a text column of the sender is not the number 7.
  std::string spelt = number.kind == ValueKind::integer ? std::to_string(number.integer) : shortest(number.real);
  if (!bend_spelling && spelt != text)
    return refuse("the column has numeric affinity, in which SQLite would change the text '" +
                  std::string(text.substr(0, 60)) + "' to a number; declare it as TEXT");
  if (number.kind == ValueKind::integer) return store_integer(number.integer, affinity, scratch);
  return store_real(number.real, affinity, scratch);
}

StoredValue store_text(const Value& value, ColumnType wire, Affinity affinity, Fraction fraction, Scratch& scratch) {
  if (wire == ColumnType::timestamp || wire == ColumnType::timestamptz) {
    std::string stored = stored_timestamp(value.text, fraction);
    if (stored != value.text) return {Value::of_text(scratch.emplace_back(std::move(stored))), ""};
    return {value, ""};
  }
  bool of_number = wire == ColumnType::numeric || wire == ColumnType::real || wire == ColumnType::integer;
  if (numeric(affinity) && is_number(value.text)) return store_number_text(value.text, of_number, affinity, scratch);
  Value number;
  if (affinity == Affinity::none && of_number && to_number(value.text, number)) {
    std::string spelt = number.kind == ValueKind::integer ? std::to_string(number.integer) : shortest(number.real);
    if (spelt == value.text) return {number, ""};
  }
  return {value, ""};
}

}  // namespace

Affinity affinity_of(std::string_view declared) {
  std::string type = upper(declared);
  if (has(type, "INT")) return Affinity::integer;
  if (has(type, "CHAR") || has(type, "CLOB") || has(type, "TEXT")) return Affinity::text;
  if (has(type, "BLOB") || type.empty()) return Affinity::none;
  if (has(type, "REAL") || has(type, "FLOA") || has(type, "DOUB")) return Affinity::real;
  return Affinity::numeric;
}

bool is_integer_type(std::string_view declared) { return has(upper(declared), "INT"); }

ColumnType column_type_of(std::string_view declared) {
  std::string type = upper(declared);
  if (type.empty() || type == "ANY") return ColumnType::any;
  if (has(type, "BOOL")) return ColumnType::boolean;
  if (has(type, "TIMESTAMP") || has(type, "DATETIME"))
    return has(type, "TIMESTAMPTZ") || has(type, "WITH TIME ZONE") ? ColumnType::timestamptz : ColumnType::timestamp;
  if (type.starts_with("DATE")) return ColumnType::date;
  if (type.starts_with("TIME")) return ColumnType::time;
  if (has(type, "UUID") || has(type, "GUID")) return ColumnType::uuid;
  if (has(type, "JSON")) return ColumnType::json;
  if (has(type, "INT")) return ColumnType::integer;
  if (has(type, "CHAR") || has(type, "CLOB") || has(type, "TEXT") || has(type, "STRING")) return ColumnType::text;
  if (has(type, "BLOB") || has(type, "BINARY") || has(type, "BYTEA")) return ColumnType::bytes;
  if (has(type, "REAL") || has(type, "FLOA") || has(type, "DOUB")) return ColumnType::real;
  if (has(type, "NUM") || has(type, "DEC")) return ColumnType::numeric;
  return ColumnType::any;
}

std::string stored_timestamp(std::string_view wire, Fraction fraction) {
  static constexpr std::string_view pattern = "0000-00-00T00:00:00";
  auto other = [&] { return std::string(wire); };
  if (wire.size() < pattern.size()) return other();
  for (std::size_t i = 0; i < pattern.size(); i++)
    if (pattern[i] == '0' ? !std::isdigit(static_cast<unsigned char>(wire[i])) : wire[i] != pattern[i]) return other();
  std::string_view rest = wire.substr(pattern.size());
  if (rest.ends_with('Z')) rest.remove_suffix(1);
  std::string digits;
  if (!rest.empty()) {
    if (rest[0] != '.' || rest.size() > 7) return other();
    digits = rest.substr(1);
    if (!std::all_of(digits.begin(), digits.end(), [](unsigned char letter) { return std::isdigit(letter); }))
      return other();
  }
  std::string stored(wire.substr(0, pattern.size()));
  stored[10] = ' ';
  // Six digits: Python's parsers of this form read ".5" as 5 microseconds.
  digits.resize(6, '0');
  if (fraction == Fraction::nonzero && digits == "000000") return stored;
  return stored + "." + digits;
}

StoredValue to_stored(const Value& value, ColumnType wire, Affinity affinity, Fraction fraction, Scratch& scratch) {
  switch (value.kind) {
    case ValueKind::integer:
    case ValueKind::boolean: return store_integer(value.integer, affinity, scratch);
    case ValueKind::real: return store_real(value.real, affinity, scratch);
    case ValueKind::text: return store_text(value, wire, affinity, fraction, scratch);
    case ValueKind::null:
    case ValueKind::bytes:
    case ValueKind::omitted: return {value, ""};
  }
  return {value, ""};
}

Value canonical_value(const Value& stored, Affinity affinity, std::string_view collation, Scratch& scratch) {
  switch (stored.kind) {
    case ValueKind::boolean: return Value::of_integer(stored.integer);
    case ValueKind::integer:
      if (affinity == Affinity::real) return Value::of_real(static_cast<double>(stored.integer));
      return stored;
    case ValueKind::real:
      if (affinity != Affinity::real && integral(stored.real))
        return Value::of_integer(static_cast<std::int64_t>(stored.real));
      return stored.real == 0 ? Value::of_real(0.0) : stored;
    case ValueKind::text: {
      std::string_view text = stored.text;
      if (collation == "RTRIM") {
        while (text.ends_with(' ')) text.remove_suffix(1);
        return Value::of_text(text);
      }
      if (collation != "NOCASE") return stored;
      std::string& folded = scratch.emplace_back(text);
      for (char& letter : folded)
        if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter + 32);
      return Value::of_text(folded);
    }
    default: return stored;
  }
}

Value to_wire(const Value& native, ColumnType type) {
  if (type == ColumnType::boolean && native.kind == ValueKind::integer && (native.integer == 0 || native.integer == 1))
    return Value::of_boolean(native.integer != 0);
  return native;
}

}  // namespace rowmesh::sqlite
