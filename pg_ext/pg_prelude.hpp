// PostgreSQL's world. Include it after all C++ and third-party headers, and further PostgreSQL headers after it in an
// extern "C" block: port.h redefines printf and its kin as macros, which breaks C++ headers that come later.
#pragma once

// Empty before PostgreSQL 16, and then a library of hidden symbols has no functions that the server finds.
#define PGDLLEXPORT __attribute__((visibility("default")))

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
}

#include "pg_ext/compat.hpp"
