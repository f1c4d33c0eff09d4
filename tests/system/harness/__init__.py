"""What the system tests and the demo are made of: a private Dovecot, a
receiver of webhooks, mail clients and expectations."""
