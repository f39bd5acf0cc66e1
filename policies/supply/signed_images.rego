# METADATA
# scope: package
# title: Images are signed where that was agreed
# description: >-
#   A Pod of a tenant whose contract says `signedImages` runs images by digest only, each of which a verifier vouches for.
#   Portcullis does not read signatures of images itself yet. A step of admission before it does (a mutating webhook that
#   verifies them), and puts a token into the annotation `annotation`: a JSON Web Token, signed with the verifier's own
#   key, whose claim `images` lists the references with their digests, and `aud` this policy. An annotation that somebody
#   else writes is worth nothing without that key. `keys` has the verifier's public keys; without any, no Pod of such a
#   tenant comes in. Templates are not judged: their Pods are.
# related_resources:
# - https://www.rfc-editor.org/rfc/rfc7519
# custom:
#   severity: high
#   enforcement: deny
#   # A token that cannot be read vouches for nothing.
#   builtinErrors: undefined
#   controls: ["NIST 800-53 SI-7(15)", "NIST 800-53 CM-14", "NIST 800-53 SR-4(3)", "PCI DSS 6.3.2", "SOC 2 CC8.1"]
#   match:
#     kinds: [Pod]
#     podTemplates: false
#   parameters:
#     tenantLabel: tenant
#     # Annotation with the token.
#     annotation: portcullis.io/verified-images
#     # Public keys of the verifier, as PEM or as a JWK set.
#     keys: ""
#     # Algorithm of the signature.
#     algorithm: ES256
#     # What the claim `aud` must say.
#     audience: portcullis
#   parametersSchema:
#     tenantLabel: {minLength: 1}
#     annotation: {minLength: 1}
#     algorithm: {enum: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]}
#     audience: {minLength: 1}
package portcullis.signed_images

import data.portcullis.lib.images
import data.portcullis.lib.objects
import data.portcullis.lib.tenants

parameters := input.parameters

pod := input.request.object

required if tenants.contract.signedImages == true

token := objects.value(objects.annotations(pod), parameters.annotation)

# The claims of a token that the verifier signed and that has not ended.
claims := payload if {
	[true, _, payload] := io.jwt.decode_verify(token, {
		"cert": parameters.keys,
		"alg": parameters.algorithm,
		"aud": parameters.audience,
	})
}

vouched := {image | some image in claims.images}

deny contains violation if {
	required
	some use in images.all(pod)
	images.parts(use.image).digest == ""
	violation := {
		"msg": sprintf("%s has image `%s` without a digest, so nobody can vouch for it", [use.who, use.image]),
		"field": use.field,
		"fix": "name the digest",
	}
}

deny contains violation if {
	required
	some use in images.all(pod)
	images.parts(use.image).digest != ""
	not vouched_for(use.image)
	violation := {
		"msg": sprintf("%s has image `%s`, and no verifier vouches for it: %s", [use.who, use.image, reason]),
		"field": use.field,
		"fix": "sign the image, and see that the verifier's step of admission runs before Portcullis",
	}
}

vouched_for(image) if image in vouched

reason := "the policy has no keys of a verifier" if parameters.keys == ""

else := sprintf("there is no annotation `%s`", [parameters.annotation]) if token == null

else := "the token in the annotation is not the verifier's, or has ended" if not claims

else := "the token in the annotation does not list it"
