#ifndef MSE_CONF_CONF_TRANSPORT_H
#define MSE_CONF_CONF_TRANSPORT_H

#include "base/error.h"
#include "conf/conf.h"

/*
 * The values that say how requests travel. As in conf-values.h: -1 and the
 * rest of a sentence that begins with the key's name.
 */

/* "Name: value"; the names mailhook writes itself are refused. */
int mse_conf_check_header(const char *text, struct mse_error *error_r);
/* http, https, socks5 or socks5h and host:port, perhaps with user and
   password; "": none. */
int mse_conf_check_proxy(const char *text, struct mse_error *error_r);
/* PEM: at least one certificate (also for cert_file) / a certificate and its
   private key (key_file NULL: in the same file), which nobody else may
   read. */
int mse_conf_check_ca_file(const char *path, struct mse_error *error_r);
int mse_conf_check_key_file(const char *cert_file, const char *key_file,
			    struct mse_error *error_r);
/* One token on one line, in a file that nobody else may read. Free it with
   mse_conf_free_token(). */
int mse_conf_read_bearer_file(const char *path, char **token_r,
			      struct mse_error *error_r);
void mse_conf_free_token(char **token);

/* Notes a file of the endpoint whose content may change, as it is now. -1: no
   memory. */
int mse_conf_watch_file(struct mse_conf_endpoint *endpoint,
			enum mse_conf_file_kind kind, const char *path);
void mse_conf_forget_files(struct mse_conf_endpoint *endpoint);

#endif
