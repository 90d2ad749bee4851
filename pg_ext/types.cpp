#include "pg_ext/types.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
}

namespace rowmesh {
namespace {

struct FormOfType {
  Oid type;
  PgForm form;
  ColumnType wire;
};
constexpr FormOfType forms[] = {
    {INT2OID, PgForm::int2, ColumnType::integer},
    {INT4OID, PgForm::int4, ColumnType::integer},
    {INT8OID, PgForm::int8, ColumnType::integer},
    {FLOAT4OID, PgForm::float4, ColumnType::real},
    {FLOAT8OID, PgForm::float8, ColumnType::real},
    {BOOLOID, PgForm::boolean, ColumnType::boolean},
    {TEXTOID, PgForm::text, ColumnType::text},
    {VARCHAROID, PgForm::text, ColumnType::text},
    {BPCHAROID, PgForm::bpchar, ColumnType::text},
    {BYTEAOID, PgForm::bytea, ColumnType::bytes},
    {DATEOID, PgForm::date, ColumnType::date},
    {TIMEOID, PgForm::time, ColumnType::time},
    {TIMESTAMPOID, PgForm::timestamp, ColumnType::timestamp},
    {TIMESTAMPTZOID, PgForm::timestamptz, ColumnType::timestamptz},
    {UUIDOID, PgForm::uuid, ColumnType::uuid},
    {NUMERICOID, PgForm::numeric, ColumnType::numeric},
    {JSONOID, PgForm::text, ColumnType::json},
    {JSONBOID, PgForm::other, ColumnType::json},
};

// ---- reading

Value text_of(const char* bytes, std::size_t length) {
  if (likely(GetDatabaseEncoding() == PG_UTF8)) return Value::of_text({bytes, length});
  char* utf8 = pg_server_to_any(bytes, static_cast<int>(length), PG_UTF8);
  return Value::of_text({utf8, utf8 == bytes ? length : std::strlen(utf8)});
}

Value text_by_output(const TypeIo& io, Datum datum) {
  char* text = OutputFunctionCall(const_cast<FmgrInfo*>(&io.output), datum);
  return text_of(text, std::strlen(text));
}

char* put_digits(char* out, int number, int width) {
  for (int i = width - 1; i >= 0; i--, number /= 10) out[i] = static_cast<char>('0' + number % 10);
  return out + width;
}

// False if the year needs more than four digits, or BC: PostgreSQL's own output says these.
bool put_date(char*& out, int julian) {
  int year, month, day;
  j2date(julian, &year, &month, &day);
  if (year < 1 || year > 9999) return false;
  out = put_digits(out, year, 4);
  *out++ = '-';
  out = put_digits(out, month, 2);
  *out++ = '-';
  out = put_digits(out, day, 2);
  return true;
}

Value date_value(const TypeIo& io, Datum datum) {
  DateADT date = DatumGetDateADT(datum);
  char* text = static_cast<char*>(palloc(12));
  char* end = text;
  if (DATE_NOT_FINITE(date) || !put_date(end, date + POSTGRES_EPOCH_JDATE)) return text_by_output(io, datum);
  return Value::of_text({text, static_cast<std::size_t>(end - text)});
}

// Six digits or none: Python's parsers of this form read ".5" as 5 microseconds.
char* put_time(char* out, std::int64_t time) {
  int seconds = static_cast<int>(time / USECS_PER_SEC), fraction = static_cast<int>(time % USECS_PER_SEC);
  out = put_digits(out, seconds / 3600, 2);
  *out++ = ':';
  out = put_digits(out, seconds / 60 % 60, 2);
  *out++ = ':';
  out = put_digits(out, seconds % 60, 2);
  if (fraction == 0) return out;
  *out++ = '.';
  return put_digits(out, fraction, 6);
}

Value time_value(Datum datum) {
  char* text = static_cast<char*>(palloc(16));
  char* end = put_time(text, DatumGetTimeADT(datum));
  return Value::of_text({text, static_cast<std::size_t>(end - text)});
}

Value timestamp_value(const TypeIo& io, Datum datum) {
  Timestamp stamp = DatumGetTimestamp(datum);
  if (TIMESTAMP_NOT_FINITE(stamp)) return text_by_output(io, datum);
  std::int64_t day = stamp / USECS_PER_DAY, time = stamp % USECS_PER_DAY;
  if (time < 0) {
    time += USECS_PER_DAY;
    day--;
  }
  char* text = static_cast<char*>(palloc(32));
  char* end = text;
  if (!put_date(end, static_cast<int>(day) + POSTGRES_EPOCH_JDATE)) return text_by_output(io, datum);
  *end++ = 'T';
  end = put_time(end, time);
  if (io.form == PgForm::timestamptz) *end++ = 'Z';
  return Value::of_text({text, static_cast<std::size_t>(end - text)});
}

Value uuid_value(Datum datum) {
  const unsigned char* bytes = DatumGetUUIDP(datum)->data;
  constexpr char hex[] = "0123456789abcdef";
  char* text = static_cast<char*>(palloc(36));
  char* out = text;
  for (int i = 0; i < UUID_LEN; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *out++ = '-';
    *out++ = hex[bytes[i] >> 4];
    *out++ = hex[bytes[i] & 15];
  }
  return Value::of_text({text, 36});
}

// The double nearest to the float's shortest decimal form: 1.1 stays 1.1 on the way through an engine that has only
// doubles, and rounds back to the same float.
double widen(float number) {
  if (!std::isfinite(number)) return number;
  char text[FLOAT_SHORTEST_DECIMAL_LEN];
  float_to_shortest_decimal_buf(number, text);
  return std::strtod(text, nullptr);
}

// ---- writing

[[noreturn]] void refuse(const TypeIo& io, const char* what) {
  ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH), errmsg("%s does not fit into a column of type %s", what,
                                                             format_type_with_typemod(io.type, io.typmod))));
  pg_unreachable();
}

// A copy in the database's encoding that ends with NUL.
char* server_text(std::string_view text) {
  if (std::memchr(text.data(), 0, text.size()))
    ereport(ERROR, (errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
                    errmsg("PostgreSQL cannot hold a text with a NUL character in it")));
  char* copy = pnstrdup(text.data(), text.size());
  return pg_any_to_server(copy, static_cast<int>(text.size()), PG_UTF8);
}

Datum by_input(TypeIo& io, char* text) { return InputFunctionCall(&io.input, text, io.input_param, io.typmod); }

Datum varlena(std::string_view bytes) {
  auto* result = static_cast<struct varlena*>(palloc(bytes.size() + VARHDRSZ));
  SET_VARSIZE(result, bytes.size() + VARHDRSZ);
  std::memcpy(VARDATA(result), bytes.data(), bytes.size());
  return PointerGetDatum(result);
}

Datum text_datum(TypeIo& io, std::string_view text) {
  bool limited =
      io.typmod >= static_cast<int>(VARHDRSZ) && text.size() > static_cast<std::size_t>(io.typmod) - VARHDRSZ;
  bool direct = io.wire == ColumnType::text && !limited && GetDatabaseEncoding() == PG_UTF8;
  if (!direct) return by_input(io, server_text(text));
  if (std::memchr(text.data(), 0, text.size())) server_text(text);
  pg_verify_mbstr(PG_UTF8, text.data(), static_cast<int>(text.size()), false);
  return varlena(text);
}

int digits(std::string_view text, std::size_t at, int count) {
  int number = 0;
  for (int i = 0; i < count; i++) {
    char digit = text[at + static_cast<std::size_t>(i)];
    if (digit < '0' || digit > '9') return -1;
    number = number * 10 + (digit - '0');
  }
  return number;
}

bool parse_date(std::string_view text, std::int64_t* days) {
  if (text.size() < 10 || text[4] != '-' || text[7] != '-') return false;
  int year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > day_tab[isleap(year)][month - 1]) return false;
  *days = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
  return true;
}

// "2026-01-31T12:00:00[.123456][Z]", also with a blank for the T. Anything else is for PostgreSQL's own parser.
bool parse_timestamp(std::string_view text, bool zone_allowed, Timestamp* stamp) {
  std::int64_t days;
  if (!parse_date(text, &days) || text.size() < 19 || (text[10] != 'T' && text[10] != ' ')) return false;
  int hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (text[13] != ':' || text[16] != ':' || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
      second > 59)
    return false;
  std::size_t at = 19;
  int fraction = 0;
  if (at < text.size() && text[at] == '.') {
    int scale = 1000000;
    for (at++; at < text.size() && text[at] >= '0' && text[at] <= '9'; at++) {
      if (scale == 1) return false;
      scale /= 10;
      fraction += (text[at] - '0') * scale;
    }
  }
  if (at < text.size() && text[at] == 'Z' && zone_allowed) at++;
  if (at != text.size()) return false;
  *stamp = ((days * 24 + hour) * 60 + minute) * 60 * USECS_PER_SEC + static_cast<std::int64_t>(second) * USECS_PER_SEC +
           fraction;
  return true;
}

bool parse_uuid(std::string_view text, pg_uuid_t* uuid) {
  if (text.size() != 36) return false;
  std::size_t at = 0;
  for (int i = 0; i < UUID_LEN; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      if (text[at++] != '-') return false;
    int byte = 0;
    for (int half = 0; half < 2; half++) {
      char digit = text[at++];
      int value = digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
      if (value < 0) return false;
      byte = byte << 4 | value;
    }
    uuid->data[i] = static_cast<unsigned char>(byte);
  }
  return true;
}

Datum integer_to_datum(TypeIo& io, std::int64_t number) {
  switch (io.form) {
    case PgForm::int2:
      if (number < PG_INT16_MIN || number > PG_INT16_MAX) break;
      return Int16GetDatum(static_cast<int16>(number));
    case PgForm::int4:
      if (number < PG_INT32_MIN || number > PG_INT32_MAX) break;
      return Int32GetDatum(static_cast<int32>(number));
    case PgForm::int8: return Int64GetDatum(number);
    case PgForm::boolean:
      if (number != 0 && number != 1) refuse(io, "a number other than 0 and 1");
      return BoolGetDatum(number == 1);
    case PgForm::float4: return Float4GetDatum(static_cast<float4>(number));
    case PgForm::float8: return Float8GetDatum(static_cast<float8>(number));
    case PgForm::bytea: refuse(io, "a number");
    default: break;
  }
  char text[24];
  snprintf(text, sizeof text, "%lld", static_cast<long long>(number));
  return by_input(io, text);
}

Datum real_to_datum(TypeIo& io, double number) {
  if (io.form == PgForm::float8) return Float8GetDatum(number);
  if (io.form == PgForm::float4) {
    auto narrow = static_cast<float4>(number);
    if (std::isinf(narrow) && !std::isinf(number)) refuse(io, "a number of this size");
    return Float4GetDatum(narrow);
  }
  if (io.form == PgForm::bytea || io.form == PgForm::boolean) refuse(io, "a number with a fraction");
  return by_input(io, float8out_internal(number));
}

Datum text_to_datum(TypeIo& io, std::string_view text) {
  switch (io.form) {
    case PgForm::text: return text_datum(io, text);
    case PgForm::bytea: refuse(io, "text");
    case PgForm::date: {
      std::int64_t days;
      if (text.size() == 10 && parse_date(text, &days)) return DateADTGetDatum(static_cast<DateADT>(days));
      break;
    }
    case PgForm::timestamp:
    case PgForm::timestamptz: {
      Timestamp stamp;
      if (io.typmod < 0 && parse_timestamp(text, io.form == PgForm::timestamptz, &stamp))
        return TimestampGetDatum(stamp);
      break;
    }
    case PgForm::uuid: {
      auto* uuid = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
      if (parse_uuid(text, uuid)) return UUIDPGetDatum(uuid);
      break;
    }
    default: break;
  }
  return by_input(io, server_text(text));
}

Datum bytes_to_datum(TypeIo& io, std::string_view bytes) {
  if (io.form != PgForm::bytea) refuse(io, "a value of bytes");
  return varlena(bytes);
}

}  // namespace

void init_type_io(TypeIo& io, Oid type, std::int32_t typmod, MemoryContext keep) {
  io.type = type;
  io.typmod = typmod;
  std::int32_t base_typmod = typmod;
  Oid base = getBaseTypeAndTypmod(type, &base_typmod);
  io.domain = base != type;
  for (const FormOfType& known : forms)
    if (known.type == base) {
      io.form = known.form;
      io.wire = known.wire;
    }
  if (io.form == PgForm::other && io.wire == ColumnType::other) {
    char category;
    bool preferred;
    get_type_category_preferred(base, &category, &preferred);
    char* name = format_type_be(base);
    if (std::strcmp(name, "citext") == 0 || std::strcmp(name, "public.citext") == 0) io.form = PgForm::citext;
    if (category == TYPCATEGORY_STRING) io.wire = ColumnType::text;
  }
  get_typlenbyval(base, &io.length, &io.by_value);
  Oid function;
  bool is_varlena;
  getTypeOutputInfo(base, &function, &is_varlena);
  fmgr_info_cxt(function, &io.output, keep);
  getTypeInputInfo(type, &function, &io.input_param);
  fmgr_info_cxt(function, &io.input, keep);
}

Value datum_to_value(const TypeIo& io, Datum datum, bool is_null) {
  if (is_null) return Value::of_null();
  switch (io.form) {
    case PgForm::int2: return Value::of_integer(DatumGetInt16(datum));
    case PgForm::int4: return Value::of_integer(DatumGetInt32(datum));
    case PgForm::int8: return Value::of_integer(DatumGetInt64(datum));
    case PgForm::float4: return Value::of_real(widen(DatumGetFloat4(datum)));
    case PgForm::float8: return Value::of_real(DatumGetFloat8(datum));
    case PgForm::boolean: return Value::of_boolean(DatumGetBool(datum));
    case PgForm::text:
    case PgForm::bpchar: {
      struct varlena* text = PG_DETOAST_DATUM_PACKED(datum);
      return text_of(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
    }
    case PgForm::bytea: {
      struct varlena* bytes = PG_DETOAST_DATUM_PACKED(datum);
      return Value::of_bytes({VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)});
    }
    case PgForm::date: return date_value(io, datum);
    case PgForm::time: return time_value(datum);
    case PgForm::timestamp:
    case PgForm::timestamptz: return timestamp_value(io, datum);
    case PgForm::uuid: return uuid_value(datum);
    case PgForm::numeric:
    case PgForm::citext:
    case PgForm::other: return text_by_output(io, datum);
  }
  pg_unreachable();
}

Datum value_to_datum(TypeIo& io, const Value& value, ColumnType wire, bool* is_null) {
  *is_null = false;
  // A domain's constraints are its input function's affair. (domain_in checks NULL too, for NOT NULL domains.)
  if (io.domain) {
    switch (value.kind) {
      case ValueKind::null:
        InputFunctionCall(&io.input, nullptr, io.input_param, io.typmod);
        *is_null = true;
        return 0;
      case ValueKind::integer: {
        char text[24];
        snprintf(text, sizeof text, "%lld", static_cast<long long>(value.integer));
        return by_input(io, text);
      }
      case ValueKind::boolean: return by_input(io, pstrdup(value.integer ? "1" : "0"));
      case ValueKind::real: return by_input(io, float8out_internal(value.real));
      case ValueKind::text: return by_input(io, server_text(value.text));
      case ValueKind::bytes: {
        if (io.form != PgForm::bytea) refuse(io, "a value of bytes");
        return by_input(io, DatumGetCString(DirectFunctionCall1(byteaout, varlena(value.text))));
      }
      case ValueKind::omitted: break;
    }
  }
  switch (value.kind) {
    case ValueKind::null: *is_null = true; return 0;
    case ValueKind::integer: return integer_to_datum(io, value.integer);
    case ValueKind::boolean:
      // SQLite's booleans are numbers; text columns get the word that PostgreSQL would write.
      if (io.form == PgForm::text && wire == ColumnType::boolean)
        return text_datum(io, value.integer ? "true" : "false");
      return integer_to_datum(io, value.integer != 0);
    case ValueKind::real: return real_to_datum(io, value.real);
    case ValueKind::text: return text_to_datum(io, value.text);
    case ValueKind::bytes: return bytes_to_datum(io, value.text);
    case ValueKind::omitted: break;
  }
  ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("a value was left out that this node does not have")));
  pg_unreachable();
}

Value canonical_key_value(const TypeIo& io, const Value& value, std::string& scratch) {
  switch (io.form) {
    case PgForm::float4:
    case PgForm::float8:
      if (value.kind == ValueKind::real && value.real == 0) return Value::of_real(0);
      return value;
    case PgForm::bpchar: {
      std::string_view text = value.text;
      while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
      return Value::of_text(text);
    }
    case PgForm::numeric: {
      std::string_view text = value.text;
      if (text.find('.') == std::string_view::npos) return value;
      while (text.back() == '0') text.remove_suffix(1);
      if (text.back() == '.') text.remove_suffix(1);
      return Value::of_text(text);
    }
    case PgForm::citext:
      // ASCII only: two keys that differ in the case of other letters are told apart here though citext holds them for
      // equal.
      scratch.assign(value.text);
      for (char& byte : scratch)
        if (byte >= 'A' && byte <= 'Z') byte = static_cast<char>(byte - 'A' + 'a');
      return Value::of_text(scratch);
    default: return value;
  }
}

}  // namespace rowmesh
