"""Whether two versions of a promise fit each other: pure rules over JSON Schema, which our own format is compiled to.

The question is always whether what the *writer's* version allows is accepted by the *reader's*: backward, the new
version reads what was written under the old one; forward, the old one reads what is written under the new one.

A model is *open* when it takes keys that it does not declare, *closed* when it refuses them (`additionalProperties:
false`), *partially open* when it takes those that satisfy a schema. Declaring an optional property in an open model
breaks backward in strict theory: old data may hold that key with any value. See `changes.Policy` for who is judged how.
"""
