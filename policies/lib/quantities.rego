# METADATA
# scope: package
# title: Quantities
# description: >-
#   Kubernetes' quantities (`500m`, `16Gi`, `2`) as numbers. What is no quantity is undefined, so a rule that compares
#   must ask for it first; the API server lets no such value through.
# related_resources:
# - https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
package portcullis.lib.quantities

number(value) := value if is_number(value)

number(value) := read(value, trim_left(value, "+-.0123456789")) if is_string(value)

# The suffix decides; most quantities have one of these.
read(value, suffix) := units.parse(value) if {
	suffix in {"", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"}
	plain(value, suffix)
} else := to_number(trim_suffix(value, suffix)) * {"n": 0.000000001, "u": 0.000001}[suffix] if {
	suffix in {"n", "u"}
	plain(value, suffix)
} else := units.parse(value) if {
	count(suffix) in {2, 3, 4}
	lower(substring(suffix, 0, 1)) == "e"
	trim(substring(suffix, 1, -1), "+-0123456789") == ""
	plain(value, suffix)
}

# Digits with one point at most, and a sign before them at most.
plain(value, suffix) if {
	signed := trim_suffix(value, suffix)
	digits := trim_left(signed, "+-")
	count(signed) < count(digits) + 2
	not digits in {"", "."}
	not contains(digits, "-")
	not contains(digits, "+")
	count(split(digits, ".")) < 3
}

# Most are written the same, and reading them costs.
same(a, b) if a == b

same(a, b) if {
	a != b
	number(a) == number(b)
}

above(a, b) if number(a) > number(b)
