# MAILHOOK_DOVECOT
# Finds the dovecot-config of the Dovecot to build against: --with-dovecot=DIR,
# else the places where distributions and a plain "make install" put it.
# --without-dovecot builds the daemon and the tools alone.
# Sets HAVE_DOVECOT and DOVECOT_2_4 (conditionals), DOVECOT_CPPFLAGS,
# DOVECOT_LIBS, DOVECOT_STORAGE_LIBS, dovecot_moduledir, dovecot_settingsdir, dovecot_libexecdir,
# dovecot_series (2.3 or 2.4) and dovecot_abi.
AC_DEFUN([MAILHOOK_DOVECOT], [
  AC_ARG_WITH([dovecot],
    [AS_HELP_STRING([--with-dovecot=DIR], [directory of dovecot-config (found without it on most systems)])],
    [], [with_dovecot=auto])
  AC_ARG_WITH([moduledir],
    [AS_HELP_STRING([--with-moduledir=DIR], [where Dovecot loads plugins from (default: as dovecot-config says)])])
  AC_ARG_WITH([settingsdir],
    [AS_HELP_STRING([--with-settingsdir=DIR], [where Dovecot 2.4 loads settings modules from (default: "settings" in the module directory)])])
  AC_ARG_WITH([dovecot-libexecdir],
    [AS_HELP_STRING([--with-dovecot-libexecdir=DIR], [where Dovecot keeps its service executables (default: as dovecot-config says)])])

  have_dovecot=no
  AS_IF([test "$with_dovecot" != no], [
    AC_MSG_CHECKING([for dovecot-config])
    AS_CASE([$with_dovecot],
      [auto|yes], [mailhook_dirs="/usr/lib/dovecot /usr/lib64/dovecot /usr/local/lib/dovecot"],
      [mailhook_dirs=$with_dovecot])
    for mailhook_dir in $mailhook_dirs; do
      AS_IF([test -f "$mailhook_dir/dovecot-config"], [dovecot_config=$mailhook_dir/dovecot-config; break])
    done
    AS_IF([test -z "$dovecot_config"], [
      AC_MSG_RESULT([no])
      AS_IF([test "$mailhook_dirs" = "$with_dovecot"],
        [AC_MSG_ERROR([$with_dovecot holds no dovecot-config: give the directory that does, or leave --with-dovecot out])],
        [mailhook_missing="$mailhook_missing dovecot-dev"
         AC_MSG_WARN([no dovecot-config in $mailhook_dirs: install dovecot-dev, name its directory with --with-dovecot=DIR, or build without the plugin: --without-dovecot])])
    ], [
      AC_MSG_RESULT([$dovecot_config])
      have_dovecot=yes
      mailhook_value() { (. "$dovecot_config" >/dev/null 2>&1; eval "echo \"\$$[]1\""); }
      DOVECOT_CPPFLAGS="-DHAVE_CONFIG_H `mailhook_value LIBDOVECOT_INCLUDE` `mailhook_value LIBDOVECOT_STORAGE_INCLUDE` `mailhook_value LIBDOVECOT_LDA_INCLUDE` `mailhook_value LIBDOVECOT_IMAP_INCLUDE` `mailhook_value LIBDOVECOT_POP3_INCLUDE`"
      DOVECOT_LIBS=`mailhook_value LIBDOVECOT`
      DOVECOT_STORAGE_LIBS=`mailhook_value LIBDOVECOT_STORAGE`
      dovecot_moduledir=`mailhook_value dovecot_moduledir`
      dovecot_settingsdir=$dovecot_moduledir/settings
      dovecot_libexecdir=`mailhook_value dovecot_pkglibexecdir`
      mailhook_cppflags=$CPPFLAGS
      mailhook_libs=$LIBS
      CPPFLAGS="$CPPFLAGS $DOVECOT_CPPFLAGS"
      LIBS="$DOVECOT_LIBS $LIBS"
      MAILHOOK_DOVECOT_SERIES
      CPPFLAGS=$mailhook_cppflags
      LIBS=$mailhook_libs
    ])
  ])
  # Nothing goes outside a directory that was named. But mail_plugin_dir does
  # not move settings modules: Dovecot has their directory compiled in.
  mailhook_settingsdir=$dovecot_settingsdir
  AS_IF([test -n "$with_moduledir"], [
    dovecot_moduledir=$with_moduledir
    dovecot_settingsdir=$with_moduledir/settings
  ])
  AS_IF([test -n "$with_settingsdir"], [dovecot_settingsdir=$with_settingsdir])
  AS_IF([test "$dovecot_series" = 2.4 && test "$dovecot_settingsdir" != "$mailhook_settingsdir"],
    [AC_MSG_WARN([libmailhook_settings.so goes to $dovecot_settingsdir, but this Dovecot looks for settings modules in $mailhook_settingsdir alone])])
  AS_IF([test -n "$with_dovecot_libexecdir"], [dovecot_libexecdir=$with_dovecot_libexecdir])
  AC_SUBST([DOVECOT_CPPFLAGS])
  AC_SUBST([DOVECOT_LIBS])
  AC_SUBST([DOVECOT_STORAGE_LIBS])
  AC_SUBST([dovecot_moduledir])
  AC_SUBST([dovecot_settingsdir])
  AC_SUBST([dovecot_libexecdir])
  AC_SUBST([dovecot_series])
  AM_CONDITIONAL([HAVE_DOVECOT], [test "$have_dovecot" = yes])
  AM_CONDITIONAL([DOVECOT_2_4], [test "$dovecot_series" = 2.4])
])

# MAILHOOK_DOVECOT_SERIES
# Which series' interfaces these headers have: they are asked for what mailhook
# uses, so that a pre-release or a patched Dovecot is judged by what it is. The
# number only rules out what nobody has read yet. The test programs mention
# functions without calling them: an undeclared name is then an error with
# every compiler.
AC_DEFUN([MAILHOOK_DOVECOT_SERIES], [
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include "lib.h"
#include "mail-user.h"
#include "mail-storage-private.h"
]], [[]])], [],
    [AC_MSG_ERROR([the headers of this Dovecot cannot be used: mail-storage-private.h does not compile with $DOVECOT_CPPFLAGS (see config.log)])])

  AC_MSG_CHECKING([which Dovecot this is])
  cat >conftest.$ac_ext <<_ACEOF
#include "lib.h"
mailhook_is DOVECOT_VERSION DOVECOT_ABI_VERSION
_ACEOF
  mailhook_is=`$CC $CPPFLAGS -E conftest.$ac_ext 2>/dev/null | sed -n 's/^mailhook_is "\([[^"]]*\)" *"\([[^"]]*\)"$/\1 \2/p'`
  rm -f conftest.$ac_ext
  dovecot_version=`echo "$mailhook_is" | sed 's/ .*//'`
  dovecot_abi=`echo "$mailhook_is" | sed 's/.* //'`
  AS_IF([test -z "$dovecot_version"], [dovecot_version="of unknown version"])

  dovecot_series=
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include "lib.h"
#include "lib-event.h"
#include "settings.h"
#include "settings-parser.h"
#include "mail-user.h"
#if DOVECOT_PREREQ(2,5,0) || !defined(EVENT_REASON_CODE) || !defined(settings_get)
# error not 2.4
#endif
]], [[
struct setting_parser_info info = { .pool_offset1 = 1 };
struct mail_user *user = 0;
return info.pool_offset1 == 0 || user->protocol == 0 ||
	user->conn.local_name == 0;
]])], [dovecot_series=2.4])
  AS_IF([test -z "$dovecot_series"], [
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include "lib.h"
#include "lib-event.h"
#include "mail-user.h"
#if DOVECOT_PREREQ(2,5,0) || !defined(EVENT_REASON_CODE)
# error not 2.3.18 or later
#endif
]], [[
const char *(*getenv)(struct mail_user *, const char *) =
	mail_user_plugin_getenv;
return getenv == 0;
]])], [dovecot_series=2.3])
  ])
  AS_IF([test -z "$dovecot_series"], [
    AC_MSG_RESULT([$dovecot_version])
    AC_MSG_ERROR([this Dovecot is $dovecot_version, and mailhook knows 2.3.18 to 2.3.21 and the releases of 2.4: install the headers of one of these, or name their directory with --with-dovecot=DIR])
  ])
  AC_MSG_RESULT([$dovecot_version, series $dovecot_series])

  # Headers of one Dovecot beside the library of another would compile.
  AC_MSG_CHECKING([whether its library matches its headers])
  AS_CASE([$dovecot_series],
    [2.3], [mailhook_symbol=master_service_settings_cache_init],
    [mailhook_symbol=settings_get_params])
  AC_LINK_IFELSE([AC_LANG_SOURCE([[
char $mailhook_symbol(void);
int main(void) { return $mailhook_symbol(); }
]])], [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([the headers are those of Dovecot $dovecot_version, but "$DOVECOT_LIBS" is missing or of another release: install both from one release (see config.log)])])
])
