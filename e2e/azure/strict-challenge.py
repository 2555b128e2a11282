"""Uses a key with the public cloud's SDK for Python, which verifies the challenge of the vault by itself."""
import os

from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

credential = ClientSecretCredential(
    os.environ["TENANT"],
    os.environ["CLIENT_ID"],
    os.environ["CLIENT_SECRET"],
    authority=os.environ["GATEWAY_URL"],
    disable_instance_discovery=True,
)
# Without verify_challenge_resource=False.
keys = KeyClient(os.environ["VAULT_URL"], credential)
key = keys.create_rsa_key("python", size=2048)
client = CryptographyClient(key.id, credential)
wrapped = client.wrap_key(KeyWrapAlgorithm.rsa_oaep_256, b"0123456789abcdef0123456789abcdef")
print(client.unwrap_key(KeyWrapAlgorithm.rsa_oaep_256, wrapped.encrypted_key).key.decode())
