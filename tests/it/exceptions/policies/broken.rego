# METADATA
# scope: package
# title: Fails on Pods that ask for it
# custom:
#   match: {kinds: [Pod], operations: [CREATE]}
package portcullis.broken

deny contains "broken" if to_number(input.request.object.metadata.annotations.number) > 0
