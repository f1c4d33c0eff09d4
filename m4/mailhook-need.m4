# MAILHOOK_NEED(VARIABLE, PKG-CONFIG MODULES, DEBIAN PACKAGE)
# Like PKG_CHECK_MODULES, but what is missing is collected, so that one run of
# configure names every Debian package to install.
AC_DEFUN([MAILHOOK_NEED], [
  PKG_CHECK_MODULES([$1], [$2], [], [mailhook_missing="$mailhook_missing $3"])
])

AC_DEFUN([MAILHOOK_NEED_REPORT], [
  AS_IF([test -n "$mailhook_missing"], [
    AC_MSG_ERROR([something mailhook needs is missing. On Debian: apt-get install$mailhook_missing])
  ])
])
