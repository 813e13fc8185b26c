// Sends with nodemailer as web applications do: send.js HOST PORT [USER PASSWORD [CA]]
const fs = require("fs");
const { createRequire } = require("module");
const nodemailer = createRequire(`${process.env.NODEMAILER}/`)("nodemailer");

const [host, port, user, pass, ca] = process.argv.slice(2);
const tls = ca ? { requireTLS: true, tls: { ca: fs.readFileSync(ca), servername: "localhost" } } : { ignoreTLS: true };
const auth = user ? { auth: { user, pass } } : {};
const transport = nodemailer.createTransport({ host, port: Number(port), name: "app.example", pool: true, ...auth, ...tls });
const attachment = Buffer.from(Array.from({ length: 300000 }, (_, at) => (at * 7919) >> 5 & 255));

async function main() {
    await transport.sendMail({
        from: "Jürgen Müller <shop@site.example>",
        to: ["a@example.org", "b@example.org"],
        bcc: "hidden@example.org",
        subject: "Grüße aus Zürich",
        text: "Schöne Grüße\n.\n..\nEnde\n",
        attachments: [{ filename: "zähler.bin", content: attachment }],
    });
    await transport.sendMail({ from: "shop@site.example", to: "a@example.org", subject: "second", text: "x" });
    transport.close();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
