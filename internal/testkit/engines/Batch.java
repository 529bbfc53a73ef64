import java.io.*;
import java.nio.charset.StandardCharsets;

/**
 * Batch: runs Dump (of the shared tools: the Java kernel) for each line "PATH[TAB]VERSION" of stdin, in one JVM. Behind the rows of each
 * there is a line that begins with 0x01: "ok", or what went wrong.
 */
public class Batch {
  public static void main(String[] args) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8");
    for (String line; (line = in.readLine()) != null; ) {
      String[] q = line.split("\t");
      String end = "ok";
      try {
        Dump.main(q.length > 1 ? new String[] {q[0], "--version", q[1]} : new String[] {q[0]});
      } catch (Throwable t) {
        StringBuilder b = new StringBuilder();
        for (Throwable c = t; c != null; c = c.getCause()) b.append(c.getClass().getSimpleName()).append(": ").append(c.getMessage()).append("; ");
        end = b.toString().replaceAll("\\s+", " ");
      }
      out.print("\n\u0001" + end + "\n");
      out.flush();
    }
  }
}
