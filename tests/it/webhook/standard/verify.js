// Verifies requests with the official library of Standard Webhooks, and what that library does not know (v1a, webhook-sequence) as README says.
// In: a JSON list on standard input, each with secret, headers and body in base64. Out: a JSON list of "valid" or the reason.
const crypto = require("node:crypto");
const { Webhook } = require("standardwebhooks");

const publicKey = (text) => {
  const x = Buffer.from(text.slice("whpk_".length), "base64").toString("base64url");
  return crypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
};

/** Says whether one of the signatures in a header is that of the message. */
const isSigned = (secret, signatures, message) =>
  signatures.split(" ").some((signature) => {
    const [version, encoded] = signature.split(",");
    const bytes = Buffer.from(encoded, "base64");
    if (secret.startsWith("whpk_")) {
      return version === "v1a" && crypto.verify(null, message, publicKey(secret), bytes);
    }
    const key = Buffer.from(secret.slice("whsec_".length), "base64");
    const expected = crypto.createHmac("sha256", key).update(message).digest();
    return version === "v1" && bytes.length === expected.length && crypto.timingSafeEqual(bytes, expected);
  });

const verify = ({ secret, headers, body }) => {
  const bytes = Buffer.from(body, "base64");
  const [id, at] = [headers["webhook-id"], headers["webhook-timestamp"]];
  if (secret.startsWith("whpk_")) {
    const message = Buffer.concat([Buffer.from(`${id}.${at}.`), bytes]);
    if (!isSigned(secret, headers["webhook-signature"], message)) throw new Error("No matching signature found");
  } else {
    new Webhook(secret).verify(bytes, headers);
  }
  const digest = crypto.createHash("sha256").update(`${id}\n${at}\n${headers["webhook-sequence"]}`).digest("hex");
  if (!isSigned(secret, headers["webhook-sequence-signature"], Buffer.from(`webhook-sequence:${digest}`))) {
    throw new Error("the sequence is not signed");
  }
};

const verdict = (request) => {
  try {
    verify(request);
    return "valid";
  } catch (error) {
    return error.message;
  }
};

const requests = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(requests.map(verdict)));
