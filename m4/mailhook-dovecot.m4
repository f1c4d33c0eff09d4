# MAILHOOK_DOVECOT
# Finds the dovecot-config of the Dovecot to build against: --with-dovecot=DIR,
# else the places where distributions and a plain "make install" put it.
# --without-dovecot builds the daemon and the tools alone.
# Sets HAVE_DOVECOT (conditional), DOVECOT_CPPFLAGS, DOVECOT_LIBS,
# dovecot_moduledir, dovecot_libexecdir, DOVECOT_VERSION, dovecot_series.
AC_DEFUN([MAILHOOK_DOVECOT], [
  AC_ARG_WITH([dovecot],
    [AS_HELP_STRING([--with-dovecot=DIR], [directory of dovecot-config (found without it on most systems)])],
    [], [with_dovecot=auto])
  AC_ARG_WITH([moduledir],
    [AS_HELP_STRING([--with-moduledir=DIR], [where Dovecot loads plugins from (default: as dovecot-config says)])])
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
      dovecot_moduledir=`mailhook_value dovecot_moduledir`
      dovecot_libexecdir=`mailhook_value dovecot_pkglibexecdir`
      mailhook_cppflags=$CPPFLAGS
      CPPFLAGS="$CPPFLAGS $DOVECOT_CPPFLAGS"
      AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include "lib.h"
#include "mail-user.h"
#include "mail-storage-private.h"
]], [[]])], [],
        [AC_MSG_ERROR([the headers of this Dovecot cannot be used: mail-storage-private.h does not compile with $DOVECOT_CPPFLAGS (see config.log)])])
      AC_MSG_CHECKING([which Dovecot this is])
      AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include "lib.h"
#if !DOVECOT_PREREQ(2,3,18) || DOVECOT_PREREQ(2,4,0)
# error unknown
#endif
]], [[]])], [dovecot_series=2.3],
        [AC_MSG_RESULT([unknown])
         AC_MSG_ERROR([this Dovecot is not one mailhook knows: it needs Dovecot 2.3.18 or a later 2.3])])
      AC_MSG_RESULT([$dovecot_series])
      CPPFLAGS=$mailhook_cppflags
    ])
  ])
  AS_IF([test -n "$with_moduledir"], [dovecot_moduledir=$with_moduledir])
  AS_IF([test -n "$with_dovecot_libexecdir"], [dovecot_libexecdir=$with_dovecot_libexecdir])
  AC_SUBST([DOVECOT_CPPFLAGS])
  AC_SUBST([DOVECOT_LIBS])
  AC_SUBST([dovecot_moduledir])
  AC_SUBST([dovecot_libexecdir])
  AC_SUBST([dovecot_series])
  AM_CONDITIONAL([HAVE_DOVECOT], [test "$have_dovecot" = yes])
])
