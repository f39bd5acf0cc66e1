# METADATA
# scope: package
# title: AWS credentials in text
# description: >-
#   Finds access key ids by their pattern, and secret keys by length, alphabet and how little the characters repeat; in the
#   text itself and in what it is base64 of. Never gives back what it found.
package portcullis.lib.credentials

# What a text holds: names for messages. `clear` is whether random text of a key's length counts by itself; where random
# text is usual (a Secret), only a name like one of AWS makes it a key.
found(text, name, clear) := kinds if {
	plain := kinds_in(text, name, clear)
	kinds := plain | kinds_in(decoded(text), name, clear)
}

kinds_in(text, name, clear) := {"an AWS access key id" | access_key_id(text)} | {"an AWS secret key" |
	secret_key(text)
	suspicious(concat(" ", [name, named_in(text)]), clear)
}

# A file of credentials names its keys itself.
named_in(text) := "aws" if contains(lower(text), "aws_secret_access_key")

else := ""

suspicious(_, clear) if clear

suspicious(name, clear) if {
	not clear
	contains(lower(name), "aws")
}

suspicious(name, clear) if {
	not clear
	regex.match(`(access|secret)[_-]?(access[_-]?)?key`, lower(name))
}

# `AKIA` for users, `ASIA` for sessions.
access_key_id(text) if {
	some prefix in ["AKIA", "ASIA"]
	contains(text, prefix)
	regex.match(`(^|[^A-Za-z0-9])(AKIA|ASIA)[A-Z0-9]{16}([^A-Za-z0-9]|$)`, text)
}

# 40 characters of base64, neither part of a longer run nor of a certificate or key file, of which no few make up the
# text: random ones have 24 to 36 different, hexadecimal digests at most 16. `key=` may stand before them, no padding
# after.
secret_key(text) if {
	size := count(text)
	size >= 40
	size <= 65536
	not contains(text, "-----BEGIN")
	some found in regex.find_all_string_submatch_n(`(?:^|[^A-Za-z0-9/+])([A-Za-z0-9/+]{40})(?:$|[^A-Za-z0-9/+=])`, text, 20)
	random(found[1])
}

random(run) if {
	count({c | some c in split(run, "")}) >= 22
	regex.match(`[a-z]`, run)
	regex.match(`[A-Z]`, run)
	regex.match(`[0-9]`, run)
	not path(run)
}

# A path has short words between slashes.
path(run) if count(split(run, "/")) > 5

# What a text is base64 of; empty when it is none. Shorter text than a key id's holds none.
decoded(text) := base64.decode(text) if {
	encoded(text)
} else := ""

encoded(text) if {
	size := count(text)
	size >= 28
	size <= 1400000
	base64.is_valid(text)
}
