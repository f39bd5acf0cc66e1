package portcullis.signed_images_test

import data.portcullis.lib.reviews_test as reviews
import data.portcullis.signed_images

# The key of RFC 7515, appendix A.3, and another one.
verifier := {
	"kty": "EC",
	"crv": "P-256",
	"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
	"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}

keys := json.marshal({"keys": [object.remove(verifier, ["d"])]})

parameters := {"tenantLabel": "tenant", "annotation": "verified", "keys": keys, "algorithm": "ES256", "audience": "portcullis"}

image := "registry.example.com/a@sha256:0f"

token(claims) := io.jwt.encode_sign({"alg": "ES256"}, claims, verifier)

good := token({"aud": "portcullis", "images": [image], "exp": 4102444800})

pod(used, annotations) := object.union(reviews.pod({"image": used}), {"metadata": {"annotations": annotations}})

denied_with(used, annotations, changes) := {v.msg | some v in found} if {
	review := reviews.with_parameters(reviews.create("Pod", pod(used, annotations), parameters), changes)
	found := signed_images.deny with input as review with data.tenants as {"tenant-b": {"signedImages": true}}
}

denied(used, annotations) := denied_with(used, annotations, {})

unvouched(why) := {sprintf("container `app` has image `%s`, and no verifier vouches for it: %s", [image, why])}

test_an_image_that_the_verifier_vouches_for if denied(image, {"verified": good}) == set()

test_tokens_that_vouch_for_nothing if {
	denied(image, {}) == unvouched("there is no annotation `verified`")
	denied(image, {"verified": token({"aud": "portcullis", "images": ["other@sha256:0f"], "exp": 4102444800})}) == unvouched("the token in the annotation does not list it")
	every bad in [
		"not a token",
		token({"aud": "other", "images": [image], "exp": 4102444800}),
		token({"aud": "portcullis", "images": [image], "exp": 1}),
		concat("", [good, "x"]),
	] {
		denied(image, {"verified": bad}) == unvouched("the token in the annotation is not the verifier's, or has ended")
	}
	denied_with(image, {"verified": good}, {"keys": ""}) == unvouched("the policy has no keys of a verifier")
}

test_images_without_a_digest if denied("registry.example.com/a:1", {"verified": good}) == {"container `app` has image `registry.example.com/a:1` without a digest, so nobody can vouch for it"}

test_where_it_was_not_agreed if {
	every used in ["nginx", image] {
		review := reviews.create("Pod", pod(used, {}), parameters)
		found := signed_images.deny with input as review with data.tenants as {"tenant-b": {}}
		found == set()
	}
}
