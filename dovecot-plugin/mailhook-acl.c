/*
 * What Dovecot's acl plugin says of a mailbox, read before and after a
 * change. Nothing of it is linked: where the plugin is not loaded, its
 * symbols are not there and the mailbox has no ACL. Invariant: the list of
 * rights is read only around a transaction that changes it, and only if
 * someone wants to know.
 */

#include "lib.h"
#include "array.h"
#include "str.h"
#include "acl-api-private.h"
#include "acl-plugin.h"
#include "mailhook-plugin.h"

#include <dlfcn.h>

/* The acl plugin's functions, the same in all releases. */
struct mailhook_acl_api {
	struct acl_storage_module *storage_module;
	struct acl_object *(*mailbox_get_aclobj)(struct mailbox *box);
	int (*object_have_right)(struct acl_object *aclobj, unsigned int idx);
	struct acl_object_list_iter *(*list_init)(struct acl_object *aclobj);
	bool (*list_next)(struct acl_object_list_iter *iter,
			  struct acl_rights *rights_r);
	int (*list_deinit)(struct acl_object_list_iter **iter);
	const char *(*rights_get_id)(const struct acl_rights *rights);
};

static const struct {
	char letter;
	const char *name;
} mailhook_acl_letters[] = { /* RFC 4314 section 2.1, as GETACL prints them */
	{ 'l', MAIL_ACL_LOOKUP },
	{ 'r', MAIL_ACL_READ },
	{ 'w', MAIL_ACL_WRITE },
	{ 's', MAIL_ACL_WRITE_SEEN },
	{ 't', MAIL_ACL_WRITE_DELETED },
	{ 'i', MAIL_ACL_INSERT },
	{ 'p', MAIL_ACL_POST },
	{ 'e', MAIL_ACL_EXPUNGE },
	{ 'k', MAIL_ACL_CREATE },
	{ 'x', MAIL_ACL_DELETE },
	{ 'a', MAIL_ACL_ADMIN },
};

static bool mailhook_acl_api_get(struct mailhook_acl_api *api_r)
{
	/* An object pointer becomes a function pointer, which POSIX allows
	   and ISO C has no words for. */
	*(void **)&api_r->storage_module =
		dlsym(RTLD_DEFAULT, "acl_storage_module");
	*(void **)&api_r->mailbox_get_aclobj =
		dlsym(RTLD_DEFAULT, "acl_mailbox_get_aclobj");
	*(void **)&api_r->object_have_right =
		dlsym(RTLD_DEFAULT, "acl_object_have_right");
	*(void **)&api_r->list_init =
		dlsym(RTLD_DEFAULT, "acl_object_list_init");
	*(void **)&api_r->list_next =
		dlsym(RTLD_DEFAULT, "acl_object_list_next");
	*(void **)&api_r->list_deinit =
		dlsym(RTLD_DEFAULT, "acl_object_list_deinit");
	*(void **)&api_r->rights_get_id =
		dlsym(RTLD_DEFAULT, "acl_rights_get_id");
	return api_r->storage_module != NULL &&
		api_r->mailbox_get_aclobj != NULL &&
		api_r->object_have_right != NULL &&
		api_r->list_init != NULL && api_r->list_next != NULL &&
		api_r->list_deinit != NULL && api_r->rights_get_id != NULL;
}

static bool mailhook_acl_has(const char *const *rights, const char *name)
{
	return rights != NULL && str_array_find(rights, name);
}

static const char *
mailhook_acl_write(pool_t pool, const char *const *rights)
{
	char letters[N_ELEMENTS(mailhook_acl_letters) + 1];
	unsigned int i, count = 0;

	if (rights == NULL)
		return NULL;
	for (i = 0; i < N_ELEMENTS(mailhook_acl_letters); i++) {
		if (mailhook_acl_has(rights, mailhook_acl_letters[i].name))
			letters[count++] = mailhook_acl_letters[i].letter;
	}
	letters[count] = '\0';
	return p_strdup(pool, letters);
}

static void mailhook_acl_add(const struct mailhook_acl_api *api, pool_t pool,
			     const struct acl_rights *rights,
			     ARRAY_TYPE(mailhook_acl) *list)
{
	struct mailhook_acl *acl = array_append_space(list);

	acl->id = p_strdup(pool, api->rights_get_id(rights));
	if (rights->id_type == ACL_ID_USER)
		acl->user = p_strdup(pool, rights->identifier);
	acl->rights = mailhook_acl_write(pool, rights->rights);
	acl->neg_rights = mailhook_acl_write(pool, rights->neg_rights);
	acl->lookup = mailhook_acl_has(rights->rights, MAIL_ACL_LOOKUP) &&
		!mailhook_acl_has(rights->neg_rights, MAIL_ACL_LOOKUP);
}

/* NULL: ACLs are not in use, or those of this mailbox cannot be read. */
static struct acl_object *
mailhook_acl_object(const struct mailhook_acl_api *api, struct mailbox *box)
{
	struct acl_object *aclobj;

	if (MODULE_CONTEXT(box, *api->storage_module) == NULL)
		return NULL;
	aclobj = api->mailbox_get_aclobj(box);
	/* Listing what cannot be read is not safe in 2.3; asking is. */
	if (aclobj == NULL || api->object_have_right(aclobj, 0) < 0)
		return NULL;
	return aclobj;
}

int mailhook_acl_list(struct mailbox *box, pool_t pool,
		      ARRAY_TYPE(mailhook_acl) *list_r)
{
	struct mailhook_acl_api api;
	struct acl_object_list_iter *iter;
	struct acl_object *aclobj;
	struct acl_rights rights;

	if (!mailhook_acl_api_get(&api))
		return -1;
	aclobj = mailhook_acl_object(&api, box);
	if (aclobj == NULL)
		return -1;
	p_array_init(list_r, pool, 8);
	iter = api.list_init(aclobj);
	while (api.list_next(iter, &rights)) T_BEGIN {
		/* A global right is nothing that the mailbox's ACL changes. */
		if (!rights.global)
			mailhook_acl_add(&api, pool, &rights, list_r);
	} T_END;
	return api.list_deinit(&iter) < 0 ? -1 : 0;
}
