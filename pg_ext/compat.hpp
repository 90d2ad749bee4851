// What differs between the supported versions of PostgreSQL (14 to 18) is said here and nowhere else.
#pragma once

#if PG_VERSION_NUM < 140000
#error "rowmesh needs PostgreSQL 14 or newer"
#endif

// 15 asks for shared memory in a hook of its own (4f2400cb3f10); before, _PG_init does.
#if PG_VERSION_NUM >= 150000
#define ROWMESH_HAS_SHMEM_REQUEST_HOOK 1
#else
#define ROWMESH_HAS_SHMEM_REQUEST_HOOK 0
#endif

// 15 renamed it (6d6b3d14e5c2).
#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

// 18 replaced the pid by the process number in latches' neighbourhood, and names the module (9324c8c58065).
#if PG_VERSION_NUM >= 180000
#define ROWMESH_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "rowmesh", .version = ROWMESH_VERSION)
#else
#define ROWMESH_MODULE_MAGIC PG_MODULE_MAGIC
#endif
