package portcullis.lib.credentials_test

import data.portcullis.lib.credentials

id := "AKIAIOSFODNN7EXAMPLE"

secret := "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

test_access_key_ids if {
	credentials.found(id, "x", true) == {"an AWS access key id"}
	credentials.found(sprintf("[default]\naws_access_key_id=%s\n", [id]), "x", false) == {"an AWS access key id"}
	credentials.found("ASIAIOSFODNN7EXAMPLE", "x", true) == {"an AWS access key id"}
	credentials.found(base64.encode(sprintf("key: %s", [id])), "x", false) == {"an AWS access key id"}
	every text in ["AKIA", "AKIAshort", "XAKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLEX", "info", ""] {
		credentials.found(text, "x", true) == set()
	}
}

test_secret_keys if {
	credentials.found(secret, "x", true) == {"an AWS secret key"}
	credentials.found(sprintf("--secret=%s,", [secret]), "x", true) == {"an AWS secret key"}
	credentials.found(sprintf("%s=", [secret]), "x", true) == set()
	credentials.found(sprintf("--secret %s --x", [secret]), "x", true) == {"an AWS secret key"}
	credentials.found(base64.encode(secret), "x", true) == {"an AWS secret key"}
	every text in [
		"3f786850e387550fdab836ed7e6dc881de23001b",
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaB1",
		"/opt/App1/bin/Some/Long/Path/Into/File9x",
		concat("", [secret, "x"]),
		sprintf("-----BEGIN CERTIFICATE-----\n%s\n", [secret]),
	] {
		credentials.found(text, "x", true) == set()
	}
}

test_where_random_text_is_usual if {
	credentials.found(secret, "password", false) == set()
	credentials.found(secret, "AWS_SECRET", false) == {"an AWS secret key"}
	credentials.found(secret, "s3.secretAccessKey", false) == {"an AWS secret key"}
	credentials.found(secret, "secret-key", false) == {"an AWS secret key"}
	credentials.found(sprintf("[default]\naws_secret_access_key=%s\n", [secret]), "credentials", false) == {"an AWS secret key"}
}
